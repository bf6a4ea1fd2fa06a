# Слова портала. Ключи и аргументы те же, что в английском файле; это проверяет тест.

product = Switchyard
skip-to-content = К содержанию
nav-label = Разделы
nav-overview = Обзор
nav-deliveries = Доставки
nav-workloads = Приложения
crumbs-label = Вы здесь
menu-label = Настройки
menu-theme = Тема
menu-language = Язык
theme-auto = Авто
theme-light = Светлая
theme-dark = Тёмная
sign-out = Выйти
close = Закрыть
copy = Копировать
copied = Скопировано
download = Скачать
see-all = Показать все
facts = Подробности
masked = скрыто

live-toggle = Приостановить или возобновить обновление
live-connecting = Подключение
live-on = Онлайн
live-reconnecting = Переподключение
live-paused = Пауза

shortcuts-title = Горячие клавиши
shortcut-overview = Перейти к обзору
shortcut-deliveries = Перейти к доставкам
shortcut-workloads = Перейти к приложениям
shortcut-queue = Перейти к очереди
shortcut-next = Следующая строка
shortcut-previous = Предыдущая строка
shortcut-open = Открыть строку
shortcut-filter = Отфильтровать список
shortcut-follow = Следить за журналом
shortcut-help = Эта подсказка

time-now = только что
time-seconds-ago = { $n } с назад
time-minutes-ago = { $n } мин назад
time-hours-ago = { $n } ч назад
time-days-ago = { $n } дн. назад
time-in-seconds = через { $n } с
time-in-minutes = через { $n } мин
time-in-hours = через { $n } ч
time-in-days = через { $n } дн.
duration-milliseconds = { $n } мс
duration-seconds = { $n } с
duration-minutes = { $m } мин { $s } с
duration-hours = { $h } ч { $m } мин
size-bytes = { $n } Б
size-kib = { $n } КиБ
size-mib = { $n } МиБ
count-thousands = { $n }{"\u00A0"}000
count-at-least = { $n }+

state-queued = В очереди
state-running = Выполняется
state-waiting = Ожидает
state-cancelling = Останавливается
state-succeeded = Выполнено
state-dead = Не удалось
state-cancelled = Отменено
state-superseded = Вытеснено

verdict-accepted = Принята
verdict-ignored = Пропущена
verdict-rejected = Отклонена
verdict-conflict = Конфликт
verdict-ping = Проверка связи
verdict-duplicate = Повтор
verdict-malformed = Не читается
verdict-accepted-meaning = Подпись верна; доставка была сохранена ещё до того, как мы ответили.
verdict-ignored-meaning = Подпись верна, но в ней нет ничего, на что отвечает триггер. Всё в порядке.
verdict-rejected-meaning = Доставке нельзя доверять или её не удалось прочитать, поэтому она ничего не запустила. Сверьте секрет и формат в настройках отправителя с настройками триггера.
verdict-conflict-meaning = Отправитель уже использовал этот идентификатор для другого тела запроса. В силе первое. Отправьте ещё раз с новым идентификатором.
verdict-ping-meaning = Подпись верна. Отправитель только проверил связь, и она есть.
verdict-duplicate-meaning = Отправитель уже присылал то же самое, поэтому ничего нового не начинается. Всё в порядке.
verdict-malformed-meaning = Подпись верна, но тело не такое, как описывает этот отправитель. Сверьте формат и вид вебхука в его настройках.

column-delivery = Доставка
column-verdict = Вердикт
column-became = Итог
column-when = Когда
column-binding = Привязка
column-decision = Решение
column-because = Почему
column-job = Задание
became-nothing = —
became-pending = Рассматривается
became-no-match = Ни одна привязка не подошла
became-forgotten = Задание #{ $id } больше не хранится

job-number = №{ $id }
revision-number = v{ $n }

why-ready = Готово к запуску ({ $since }): его возьмёт первый свободный исполнитель.
why-ready-alone = Готово к запуску ({ $since }). Исполнителя за последний час не было видно: его разбудят.
why-due = Ещё не время: запуск { $when }.
why-retry = Следующая попытка { $when }; прошлая закончилась ошибкой { $error }.
why-queue-busy = Очередь { $queue } занята заданием { $job }: в ней выполняется по одному.
why-key-busy = Идёт следом за { $job }: оно о том же и ещё выполняется.
why-no-executor = Задачу { $task } никто не берёт. Назначьте ей исполнителя или запустите обработчик.
why-leased = Выполняет { $worker }. Если он замолчит, задание вернётся в очередь { $until }.
why-outside = Работа идёт снаружи, в { $runner }. Если ответа не будет, ожидание закончится { $deadline }.
why-approval = Нужно чьё-то одобрение. Без ответа ожидание закончится { $deadline }.
why-stopping = Остановку запросили { $asked }; исполнитель её ещё не подтвердил.

overview-title = Обзор
figures-label = Цифры
figure-deliveries = Доставки за сутки
figure-rejected = отклонено: { $count }
figure-running = Выполняется
figure-waiting = Ожидает
figure-dead = Неудачи за сутки
overview-deliveries = Последние доставки
overview-jobs = Задания, которым нужно время или внимание
overview-workloads = Приложения
overview-no-deliveries = Пока ничего не пришло.
overview-no-jobs = Ничего не выполняется, не ждёт и не сломалось. Всё спокойно.
overview-no-workloads = Приложений пока нет.
first-title = Отправьте что-нибудь
first-text = Сюда ещё ничего не приходило. Эта команда создаст небольшой сайт, репозиторий для него и триггер, а затем отправит коммит:
first-step-delivery = Отправка приходит как доставка.
first-step-decision = Привязки решают, что запустить, и объясняют почему.
first-step-live = Задание публикует сайт по собственному адресу.

deliveries-title = Доставки
deliveries-lede = Каждый запрос, пришедший снаружи, и что мы с ним сделали.
deliveries-none = Пока ничего не пришло.
deliveries-no-match = Под этот фильтр не подходит ни одна доставка.
filter-verdict = Вердикт
filter-trigger = Триггер
filter-any = Любой
filter-apply = Отфильтровать
filter-clear = Сбросить фильтр
pages-label = Страницы этого списка
pages-newer = Новее
pages-older = Старше

delivery-events = Созданные события
delivery-no-events = Событий из неё не вышло.
delivery-body = Тело запроса
delivery-body-raw = Как пришло
delivery-body-empty = Тело запроса пустое.
delivery-body-truncated = Здесь только начало. Целиком — в скачанном файле.
delivery-headers = Заголовки
fact-received = Получено
fact-answered = Ответ
fact-trigger = Триггер
fact-vendor-id = Номер у отправителя
fact-id = Идентификатор
fact-repeats = Повторы
fact-dispatched = Решено
fact-source = Источник
fact-created = Создано
fact-attempts = Попытки
fact-ran-for = Время работы
fact-epoch = Эпоха
repeats-none = Не было
repeats-count = { $count ->
    [one] { $count } повтор, в ответ — «дубликат»
    [few] { $count } повтора, в ответ — «дубликат»
    [many] { $count } повторов, в ответ — «дубликат»
   *[other] { $count } повтора, в ответ — «дубликат»
}

chain-label = Путь от доставки до публикации
chain-after = спустя
chain-delivery = Доставка
chain-event = Событие
chain-decision = Решение
chain-job = Задание
chain-revision = Версия

event-data = Данные
decisions-title = Решения
decisions-of = привязки триггера { $trigger }
decisions-pending = Привязки ещё не опрошены. Это займёт мгновение.
decisions-none = У триггера нет привязок, поэтому запускать было нечего. Добавьте привязку: она скажет, что делать при отправке.
decision-matched = Подошла
decision-not-matched = Не подошла
decision-no-job = Нет
job-forgotten = больше не хранится
clause-none = Без условий
clause-missing = не указано
clause-name-enabled = выключатель
clause-name-depth = глубина
clause-name-event-type = вид события
clause-name-repository = репозиторий
clause-name-deleted = удаление
clause-name-branch = ветка
clause-name-tag = тег
clause-name-paths = изменённые пути
clause-name-config = настройка
clause-name-skip = просьба пропустить
clause-name-action = действие
clause-name-base = целевая ветка
clause-name-fork = форк
clause-name-draft = черновик
clause-name-pipeline = конвейер
clause-name-outcome = исход
clause-name-image = образ
clause-name-platform = платформа
clause-name-event-name = событие
clause-name-field = поле
clause-name-attribute = атрибут
clause-name-rule = правило журнала
clause-name-severity = важность
clause-name-condition = условие
clause-name-seen = уже известно
clause-name-payload = поручение
clause-name-other = условие
clause-held = { $name }: { $actual } — подходит под { $expected }
clause-failed = { $name }: { $actual }, а нужно { $expected }

job-why = Почему ждёт:
job-why-running = Сейчас:
job-cancel = Остановить
job-payload = Что поручено
job-result = Результат
job-no-result = Результата нет.
job-timeline = Что происходило
job-attempts = Попытки
job-no-attempts = Попыток ещё не было.
attempts-of = { $used } из { $max }
attempt-number = Попытка { $n }
attempt-running = Выполняется
attempt-succeeded = Удалась
attempt-failed = Не удалась
attempt-released = Возвращена
attempt-lost = Исполнитель пропал
attempt-cancelled = Остановлена
job-event-queued = Поставлено в очередь
job-event-started = Запущено
job-event-retrying = Будет новая попытка
job-event-waiting = Ждёт
job-event-resumed = Продолжено
job-event-lease-lost = Исполнитель перестал отвечать
job-event-cancel-requested = Запрошена остановка
job-event-cancelled = Остановлено
job-event-succeeded = Выполнено
job-event-dead = Окончательно не удалось
job-event-superseded = Его место заняло более новое
job-event-released = Исполнитель вернул задание
job-event-stale-refused = Запоздалый ответ отклонён
job-event-cancel-too-late = Закончилось раньше, чем его остановили
job-event-approved = Одобрено
job-event-rejected = Отклонено
job-event-snoozed = Отложено
job-event-by-hand = Завершено вручную
job-event-other = Замечено
job-by-person = по просьбе: { $name }
job-by-event = по событию
outcome-deployed = Работает версия { $revision }, { $deployed }
outcome-moved = Просили { $asked }, развёрнуто { $deployed }: самое новое из того, за чем следит. Работает версия { $revision }
outcome-already-live = Уже работает: содержимое { $deployed } то же, что у версии { $revision }

log-title = Журнал
log-follow = Следить
log-wrap = Переносить
log-times = Время
log-raw = Исходный
log-empty = Ничего не напечатано.
log-empty-yet = Пока ничего не напечатано. Строки появятся здесь сами.
log-lines = { $count ->
    [one] { $count } строка
    [few] { $count } строки
    [many] { $count } строк
   *[other] { $count } строки
}
log-earlier = Предыдущие строки
log-later = Следующие строки
log-to-end = В конец
log-find = Поиск в журнале
log-find-first = Найти
log-find-next = Далее
log-find-none = После строки { $line } нет «{ $text }».
log-new-lines = Новые строки: {"{n}"}
log-line-cut = … ещё { $size } в исходном журнале

run-title = Запуск
run-launching = Запускается
run-running = Выполняется
run-succeeded = Завершён успешно
run-failed = Не удался
run-cancelled = Остановлен
run-lost = Потерян
run-heard = на связи { $when }
run-not-heard = ещё не вышел на связь
run-earlier = Предыдущие запуски
run-exit-code = код завершения { $code }
run-lines-dropped = { $count ->
    [one] { $count } строка не сохранена: журнал заполнен.
    [few] { $count } строки не сохранены: журнал заполнен.
    [many] { $count } строк не сохранено: журнал заполнен.
   *[other] { $count } строки не сохранено: журнал заполнен.
}
step-waiting = Ожидает
step-running = Выполняется
step-succeeded = Готов
step-failed = Не удался
step-stopped = Остановлен
step-skipped = Пропущен
stop-title = Остановка
stop-requested = Запрошена
stop-heard = Услышана
stop-not-heard = Ещё не услышана
stop-nobody = Слышать было некому
stop-applied = Выполнена: ничего больше не работает
stop-not-applied = Ещё не выполнена
stop-cannot = Сейчас остановить нельзя; попытки продолжаются
stop-too-late = Поздно: задание завершилось раньше
artifacts-title = Артефакты
artifact-name = Имя
artifact-size = Размер
artifact-sha256 = SHA-256
artifact-at = Сохранён
artifact-sealed = Хранится зашифрованным. Скачивают только администраторы, каждое скачивание записывается.
artifact-sealed-short = зашифрован
plan-title = План
plan-summary = добавить: { $add }, изменить: { $change }, удалить: { $remove }
plan-sha256 = SHA-256 { $sha256 }
plan-incomplete = Часть работы Terraform отложил: за этим планом последует ещё один.
plan-no-changes = Ничего не изменится.
plan-outputs = Выходные значения
plan-forces = требует замены
plan-left-out = { $count ->
    [one] Ещё { $count } здесь не показан.
    [few] Ещё { $count } здесь не показаны.
    [many] Ещё { $count } здесь не показано.
   *[other] Ещё { $count } здесь не показано.
}
plan-waits = Прочитайте и решите. Если никто не решит, план будет отклонён { $deadline }.
plan-approve = Одобрить и применить этот план
plan-reject = Отклонить
plan-no-sha256 = Файл плана не сохранился, одобрить его нельзя. Запустите задание снова.
plan-not-yours = Решает оператор этого арендатора.
plan-approved = Одобрен: { $name }, { $when }
plan-rejected = Отклонён: { $name }, { $when }
plan-expired = Никто не решил вовремя: план отклонён. Запустите задание снова, чтобы получить новый.
plan-superseded = Его место занял более новый план того же состояния.
plan-attribute = Атрибут
plan-before = Было
plan-after = Станет
action-create = будет создан
action-update = будет изменён на месте
action-delete = будет удалён
action-replace = будет удалён и создан заново
action-replace-first = будет создан новый, затем удалён старый
action-read = будет прочитан
action-forget = будет забыт, но останется
action-other = будет изменён
action-imported = импортирован
action-deposed = остался после замены
action-moved = ранее { $from }
value-sensitive = скрыто
value-unknown = станет известно после применения
resources-title = Ресурсы
resource-planned = Запланирован
resource-running = Изменяется
resource-done = Готов
resource-failed = Ошибка
drift-title = Изменено извне
outputs-title = Выходные значения
output-large = { $size }, слишком велико для показа
diagnostics-title = Что говорит terraform
diagnostic-error = Ошибка
diagnostic-warning = Предупреждение

notifications-title = Уведомления
endpoints-title = Получатели
endpoints-none = Пока никого не уведомляют. Получатель создаётся запросом POST /notification-endpoints к API.
endpoint-delivered = Последняя доставка
endpoint-failing = не удаётся { $when }
notification-rules-title = Правила
notification-rules-none = Нет правила, о чём уведомлять. Правило создаётся запросом POST /notification-rules к API.
rule-of = О чём
rule-tells = Кого
told-on = Включено
told-off = Выключено
told-never = никогда
column-state = Состояние
messages-title = Сообщения
messages-none = Пока ничего не отправлено.
message-event = Событие
message-id = Идентификатор сообщения
message-repeats = Повторяет
message-next = Следующая попытка
message-delivered = Доставлено
message-failed = Не удалось
message-pending = В пути
message-attempts = { $count ->
    [one] { $count } попытка
    [few] { $count } попытки
    [many] { $count } попыток
   *[other] { $count } попытки
}
message-again = Отправить ещё раз
log-rules-title = Правила для журналов
log-rules-none = Пока ни одно правило не смотрит на строки. Правило создаётся запросом POST /log-rules к API.
log-rule-found = Найдено
log-rule-counts = подошло: { $matched }, сообщено: { $told }
event-log-title = Что они нашли
event-log-none = Пока ничего.
severity-error = Ошибка
severity-warning = Предупреждение
severity-info = Сведения

nav-runs = Запуски
runs-title = Запуски
runs-latest = Последние
runs-none = Пока ничего не запускали. Запустите сами или поручите это push или расписанию.
runs-older = Более старые
run-start = Запустить
run-kind = Вид
run-json = Параметры в JSON
run-rest = Другие ключи
run-rest-hint = То, для чего нет поля, как объект JSON. Передаётся как есть.
run-more-rows = Ещё строка
fault-no-number = { $title } — не целое число.
workspaces-title = Рабочие пространства
workspaces-none = Рабочих пространств пока нет. Это папка репозитория Git, из которой запускают; создаётся запросом POST /workspaces к API.
workspace-never = ещё не прочитано
workspace-sync = Синхронизировать сейчас
workspace-url = Репозиторий
workspace-branch = Ветка
workspace-folder = Папка
workspace-synced = Прочитано
workspace-credential = Учётные данные
templates-title = Что можно запустить
templates-none = Не найдено ничего, что можно запустить: ни *.tf, ни topology.yml, ни *.clab.yml.

topology-title = Лаборатория { $lab }
topology-link = Топология
topology-not-drawn = Лаборатория из { $count } узлов не рисуется: вот она таблицей.
topology-nodes = Узлы
topology-kind = Вид
topology-image = Образ
topology-address = Адрес управления
topology-links = Соединения
topology-no-links = Соединений нет.
topology-from = Откуда
topology-to = Куда

decide-superseded = Его место занял более новый план того же состояния: решайте по нему.
decide-expired = Время вышло: план отклонён. Запустите задание снова, чтобы получить новый.
decide-before = Кто-то уже решил до вас.
decide-not-waiting = Решения здесь не ждут.
decide-other-plan = Ждёт не этот план: прочитайте страницу снова.
decide-moved = Состояние изменилось после планирования: постройте план заново.
decide-untrusted = Это пришло от тех, кому нельзя просить одобрения.
states-title = Состояния
states-none = Состояний пока нет. Первое появится после первого применения Terraform.
state-serial = Номер
state-empty = пусто
state-lock = Блокировка
state-free = свободно
state-held-by = Держит
state-held-since = С
state-held-for = Для
state-lock-id = Идентификатор блокировки
state-unlock = Снять блокировку
state-unlock-hint = Только если вы знаете, что её владелец больше не работает: две одновременные записи разрушают состояние. Это записывается.
state-other-lock = Этой блокировки уже нет: прочитайте страницу снова.
state-held = Блокировку кто-то держит: без него ничего не меняется.
state-versions = Версии
state-by = Кто
state-current = действует
state-quarantined = в карантине
state-quarantined-count = в карантине: { $count }
state-diff = что изменилось
state-diff-title = Что изменилось в { $name }
state-promote = Сделать действующей
state-no-resources = Под управлением ничего нет.
state-tainted = испорчен
field-why = Почему

workloads-title = Приложения
workloads-lede = То, что задания развёртывают и поддерживают в рабочем состоянии.
workload-empty = Пусто
workload-deploying = Развёртывается
workload-live = Опубликовано
workload-failed = Последнее развёртывание не удалось
workload-never = Пока ничего не развёрнуто.
workload-live-now = Сейчас опубликовано
workload-jobs = Последние задания
workload-no-jobs = Заданий пока нет.
workload-deploy = Развернуть сейчас
revisions-title = Версии
revisions-none = Версий пока нет. Первая появится после успешного развёртывания.
revision-live = Опубликована
revision-asked = запрошено { $asked }, развёрнуто { $deployed }
bindings-title = Что его запускает
bindings-none = Само по себе ничто его не запускает. Привяжите его к триггеру.
binding-of = по триггеру { $trigger }
binding-off = выключена
rollback = Откатить
rollback-title = Откатить к версии v{ $n }?
rollback-text = { $workload } снова будет отдавать эту версию. Заново ничего не собирается.
rollback-from = Сейчас
rollback-to = Станет
rollback-note = Следующая отправка развернётся как обычно. Вернуться можно к любой версии из списка.
rollback-confirm = Откатить
rollback-keep = Оставить как есть

sign-in-title = Вход
sign-in-text = Эта ссылка действует один раз. Нажмите кнопку, чтобы войти в этом браузере.
sign-in-button = Войти здесь
sign-in-expired-title = Ссылка больше не действует
sign-in-expired-text = Ссылка действует один раз и недолго. Получите новую:
sign-in-needed-title = Нужно войти
sign-in-needed-text = Откройте одноразовую ссылку, напечатанную при запуске, или получите новую:
signed-out-title = Вы вышли

not-found-title = Такой страницы нет
not-found-text = Возможно, её удалили, срок хранения истёк или она принадлежит другому арендатору.
forbidden-title = Это не разрешено
forbidden-text = Ваша роль этого не позволяет, или форма была открыта слишком долго. Вернитесь, обновите страницу и повторите; если не поможет, попросите у администратора роль оператора.
internal-title = У нас что-то сломалось
internal-text = Вы ни при чём, и ничего не изменилось. Попробуйте ещё раз; если не поможет, загляните в журнал.
unavailable-title = База данных не отвечает
unavailable-text = Ничего из принятого не потеряно, и работа продолжится сама, когда база вернётся. Повторите через несколько секунд.
failure-reference = В журнале это можно найти по { $reference }.
try-again = Повторить
go-to-overview = Перейти к обзору

nav-queue = Очередь
queues-title = Очереди
queues-lede = Именованная очередь выполняет по одному заданию, по порядку.
queues-none = Именованных очередей пока нет. Очередь появится с первым заданием, которое её назовёт.
tasks-title = Задачи
tasks-lede = Сколько ждёт по каждому виду работы, сколько выполняется и что это ограничивает.
tasks-none = Заданий пока не было.
task-unknown = Такой задачи никто не знает
column-name = Название
column-ready = Готово
column-in-flight = Выполняется
column-standing = Что держит
column-actions = Приостановить или опустошить
pages-first = К началу
pages-next = Дальше
lane-of = { $running } из { $cap }
lane-approvals =
    { $count ->
        [one] { $count } ждёт одобрения
        [few] { $count } ждут одобрения
        [many] { $count } ждут одобрения
       *[other] { $count } ждут одобрения
    }
limit-in-flight = { $running } из { $most } выполняется
limit-rate = { $rate } в секунду
pause-paused = Приостановлено
pause-draining = Опустошается
pause-by = { $name }, { $when }
pause-resume = Возобновить
pause-pause = Приостановить
pause-drain = Опустошить
pause-why = Почему, для следующего
schedules-title = Расписания
schedules-lede = Что запускается по часам.
schedules-none = Расписаний пока нет.
schedule-problem = Ошибка в правиле
schedule-over = Больше не сработает
schedule-run = Запустить сейчас
fact-task = Задача
fact-queue = Очередь
fact-key = Ключ
fact-reason = В причине есть
fact-rule = Правило
fact-zone = Часовой пояс
fact-missed = Пропущенное
fact-next-tick = Следующий раз
fact-last-tick = Прошлый раз
missed-skip = не выполняется
missed-last = выполняется последнее
missed-all = выполняется всё
ticks-title = Срабатывания
ticks-none = Ещё не срабатывало.
tick-fired = Сработало
tick-missed = Пропущено
tick-refused = Отклонено
dead-title = Неудавшиеся задания
dead-lede = Сами они больше не запускаются. Повторите их, когда причина устранена.
dead-none = Неудавшихся заданий нет.
dead-no-match = Ничего не подходит.
dead-replay = Повторить
dead-purge = Удалить
dead-replay-all = Повторить все подходящие
dead-purge-all = Удалить все подходящие
dead-replay-question = Повторить неудавшиеся задания ({ $count })?
dead-purge-question = Удалить неудавшиеся задания ({ $count })?
dead-replay-text = Каждое запустится как новое. Это делает отдельное задание; видно, сколько готово, и его можно остановить.
dead-purge-text = Записи о них исчезнут навсегда. Это делает отдельное задание; видно, сколько готово, и его можно остановить.
dead-keep = Оставить
why-callback = Функция работает и сообщит сама. Если она промолчит, будет новая попытка { $deadline }.
why-paused = { $what }: приостановлено, { $name }, { $when }.
why-full = { $what }: выполняется { $running } из { $most }; задание начнётся, когда одно из них закончится.
why-rate = { $what }: запущено столько, сколько разрешено; следующее может начаться { $when }.
scope-tenant = Арендатор
scope-task = Задача
scope-tenant-task = Задача арендатора
scope-queue = Очередь
progress-label = Ход работы
progress-of = { $done } из { $of }
job-event-cancel-acknowledged = Исполнитель узнал, что должен остановиться
job-event-cancel-tried = Остановить не удалось, будет новая попытка
job-event-cancel-cannot = Остановить нельзя
job-event-called-back = Функция ответила
job-event-refused = Не принято
refused-title = Сейчас это невозможно
schedule-new = Новое расписание
schedule-new-title = Новое расписание
schedule-edit = Изменить
schedule-edit-title = Изменить { $name }
schedule-remove = Удалить
schedule-remove-text = Больше оно не сработает. Его задания останутся.
schedule-fired-by = Его запускает планировщик другой системы, { $name }, а не наш.
schedule-save = Сохранить
schedule-check = Проверить
schedule-leave = Оставить как есть
form-wrong = Ничего не сохранено. Что не так, написано у полей.
form-what = Что запускается
form-when = Когда
rule-as = Как записано правило
rule-as-fields = Поля
rule-as-json = JSON
field-start = Не раньше
field-end = Не позже
field-priority = Приоритет
field-jitter = Разброс
field-jitter-secs = Разброс, секунды
jitter-up-to = до { $secs } с позже
hint-queue = Задания идут по одному, по порядку. Пусто: независимо друг от друга.
hint-key = С этим ключом ждёт не больше одного задания и выполняется одно.
hint-priority = Меньшее идёт раньше; если пусто — 0.
hint-attempts = Если пусто — столько, сколько у задачи.
hint-payload = JSON, который получит каждое задание.
hint-rule = Минута, час, день, месяц, день недели; если полей шесть, первыми идут секунды. Или @daily, или момент: 2026-12-01T09:00.
hint-rule-json = Текст или поля, которые должны совпасть все: {"{"}"hour": [9, 18], "minute": 30{"}"}. Вокруг: {"{"}"rule": …, "start": …, "end": …{"}"}.
hint-edge = Момент, например 2026-12-01T09:00:00Z; без Z — в часовом поясе, который указан ниже.
hint-zone = Название IANA, например Europe/Paris; если пусто — UTC.
hint-jitter = Каждое задание начнётся с такой задержкой или меньшей, чтобы не все сразу.
preview-title = Ближайшие срабатывания
preview-empty = Напишите правило — и станет видно, когда оно сработает.
preview-zone = По часам в { $zone }:
preview-shortest = Самый короткий промежуток: { $length }.
day-monday = пн
day-tuesday = вт
day-wednesday = ср
day-thursday = чт
day-friday = пт
day-saturday = сб
day-sunday = вс
wrong-number = нужно целое число
wrong-json = это не JSON, начиная со строки { $line }, столбца { $column }
wrong-only-json = в полях можно записать только правило-текст, рядом с которым нет ничего, кроме start и end; это правило что-то потеряет
wrong-taken = расписание с названием { $name } или с этим ключом уже есть; возьмите другое или измените то
wrong-too-many = у арендатора не больше { $most } расписаний; удалите отслужившее
wrong-length = нужно от 1 до { $max } символов
wrong-nul = символ NUL не принимается; уберите его
wrong-large = правило занимает не больше 6000 байт в виде JSON
wrong-tries = нужна хотя бы одна попытка
wrong-jitter = { $max }, то есть сутки, — это предел
wrong-rule-kind = правило — это текст, например "*/5 * * * *", объект, например {"{"}"hour": 9, "minute": 30{"}"}, или момент; а здесь { $kind }
rule-kind-null = null
rule-kind-bool = true или false
rule-kind-list = список
wrong-rule-count = в правиле cron пять полей (минута, час, день месяца, месяц, день недели) или шесть, с секундами впереди; в { $text } их { $number }
wrong-rule-field = неверно задано поле «{ $field }», { $text }: напишите число из { $range }, список 1,2, промежуток 1-5 или шаг */2
cron-second = секунда
cron-second-range = 0-59
cron-minute = минута
cron-minute-range = 0-59
cron-hour = час
cron-hour-range = 0-23
cron-day = день месяца
cron-day-range = 1-31, L — последний
cron-month = месяц
cron-month-range = 1-12 или JAN-DEC
cron-weekday = день недели
cron-weekday-range = 0-7 или SUN-SAT, 0 и 7 — воскресенье
wrong-rule-text = { $text } — не правило cron: { $problem }
wrong-rule-long = в правиле cron не больше 500 символов
wrong-rule-value = в поле { $field } стоит { $value }: напишите число от { $min } до { $max }, список чисел или {"{"}"start": …, "end": …, "step": …{"}"}
wrong-rule-unknown = в правиле не бывает { $name }; бывают year, month, date, dayOfWeek, hour, minute, second, tz и rule, start, end
edge-start = начало
edge-end = конец
edge-rule = правило
wrong-rule-instant = { $name } — { $value }: напишите момент, например "2026-12-01T09:00:00Z", или миллисекунды с 1970 года
wrong-rule-zone = часового пояса { $name } нет; напишите название IANA, например "Europe/Paris"
wrong-rule-zones = в правиле tz { $rule }, а в расписании { $schedule }; укажите что-то одно
wrong-rule-never = это никогда не наступит: срабатываний больше нет, или конец раньше них
dead-attempts = попыток: { $used } из { $max }
dead-choose = Выбрать { $job }
dead-choose-all = Все на этой странице
dead-replay-chosen = Повторить выбранные
dead-purge-chosen = Удалить выбранные
dead-purge-chosen-text = Записи о них исчезнут навсегда.
dead-none-chosen = Ничего не выбрано. Отметьте нужные задания.
dead-replayed =
    { $count ->
        [one] { $count } задание начнётся снова.
        [few] { $count } задания начнутся снова.
        [many] { $count } заданий начнутся снова.
       *[other] { $count } задания начнутся снова.
    }
dead-purged =
    { $count ->
        [one] { $count } задание удалено.
        [few] { $count } задания удалены.
        [many] { $count } заданий удалены.
       *[other] { $count } задания удалены.
    }
dead-missing =
    { $count ->
        [one] { $count } уже не было.
        [few] { $count } уже не было.
        [many] { $count } уже не было.
       *[other] { $count } уже не было.
    }

nav-triggers = Триггеры
shortcut-triggers = Перейти к триггерам
triggers-title = Триггеры
triggers-lede = Почему что-то запускается: чего мы ждём и что из этого делает каждая привязка.
triggers-none = Триггеров пока нет. Триггер говорит, чего ждать; его привязки — что запускать.
trigger-new = Новый триггер
trigger-new-title = Новый триггер
trigger-edit-title = Изменить { $name }
trigger-kind = Вид триггера
trigger-off = Выключен
trigger-enable = Включить
trigger-disable = Выключить
trigger-remove-text = Через него больше ничего не запустится, его адрес перестанет работать. Запущенное останется.
trigger-filter = Фильтр
trigger-senders = Куда отправлять
trigger-url-hint = Дайте отправителю этот адрес вместе с секретом: здесь узнают любого отправителя.
column-starts = Что запускает
column-health = Отправители
column-own-filter = Свой фильтр
column-would = Подойдёт ли
starts-nothing = Пока ничего
starts-task = задача { $task }
kind-git = Git
kind-registry = Реестр
kind-webhook = Вебхук
kind-schedule = Расписание
kind-manual = Вручную
kind-log = Журнал
kind-event = CloudEvent
health-verified = последняя проверенная доставка { $when }
health-never = проверенных пока не было
health-rejected = { $count ->
    [one] { $count } отклонена сегодня
    [few] { $count } отклонены сегодня
    [many] { $count } отклонено сегодня
   *[other] { $count } отклонено сегодня
}
health-silent = { $count ->
    [one] Тишина { $count } день.
    [few] Тишина { $count } дня.
    [many] Тишина { $count } дней.
   *[other] Тишина { $count } дня.
}
health-previous = Прежним секретом ещё пользовались { $when }: кто-то не перешёл на новый.
fact-scheme = Подтверждение
fact-previous = Прежний секрет
scheme-usual = как принято у отправителя
scheme-path = секрет в адресе
scheme-standard = Standard Webhooks
scheme-json = как сказано в JSON
hint-scheme = Для тех, кому можно сказать как: {"{"}"kind": "token", "header": "x-token"{"}"}. Действует, если выбрано «как сказано в JSON».
previous-until = действует до { $when }
previous-stands = ещё действует
secret-once = Секрет. Он показан только сейчас: передайте его отправителю.
url-once = Адрес с секретом. Он показан только сейчас: передайте его отправителю.
secret-renew = Новый секрет
secret-renew-text = Прежний действует, пока его не уберут, чтобы ни одна доставка не потерялась.
secret-own = Свой; пусто — случайный
secret-drop = Убрать прежний секрет
trigger-bindings = Привязки
trigger-bindings-none = К нему ничего не привязано: что бы ни случилось, ничего не запустится. Добавьте привязку.
binding-new = Новая привязка
binding-new-title = Новая привязка
binding-edit-title = Изменить привязку
binding-number = Привязка { $n }
binding-as-trigger = как у триггера
binding-remove-text = Она больше ничего не запустит. Запущенное останется.
binding-a-task = Вместо этого задача
binding-filter-lede = Написанное здесь заменяет ключи фильтра триггера. Пусто — действует фильтр триггера.
binding-trigger-filter = Фильтр триггера
binding-beside = И кроме того
binding-enabled = Включена
field-workload = Что развернуть
hint-workload = Или назовите задачу ниже.
hint-task = Только если не выбрано приложение.
field-overrides = Вместо настройки приложения
hint-overrides = Объект JSON, ключ за ключом; пусто — ничего.
field-payload-template = Что поручить задаче
hint-payload-template = JSON, тексты которого могут быть шаблонами, например {"{{"} event.data.ref_name {"}}"}.
hint-task-queue = Шаблон; задания одной очереди идут по одному.
hint-task-key = Шаблон; новое задание занимает место ждущего с тем же ключом.
field-condition = Условие
hint-condition = CEL над событием, например event.data.actor == "ann". Пусто — всегда.
config-as = Как записан фильтр
config-as-json = Весь JSON
hint-config-json = Фильтр целиком. Незнакомые ключи сохраняются.
filter-sample = Все ключи этого вида, для примера
filter-rest = Остальные ключи в JSON
hint-filter-rest = То, для чего здесь нет полей; сохраняется как есть.
picked-none = Нет
filter-repository = Репозиторий
hint-filter-repository = владелец/имя; * — что угодно без косой черты, ** — что угодно.
filter-branches = Ветки
hint-filter-branches = По образцу в строке. Пусто — все.
filter-tags = Теги
hint-filter-tags = По образцу в строке. Пусто — ни один.
hint-filter-image-tags = По образцу в строке. Пусто — все.
filter-paths = Изменённые пути
hint-filter-paths = По образцу в строке; хотя бы один должен измениться. Если отправитель не сказал, что изменилось, подходит.
filter-ignore-skip = Запускать вопреки [skip ci]
hint-filter-ignore-skip = Коммиты с просьбой пропустить считаются наравне.
filter-image = Образ
hint-filter-image = registry.example.com/team/app; образцы как для репозиториев.
filter-platform = Платформа
hint-filter-platform = Например, linux/amd64.
filter-events = События
hint-filter-events = Названия событий у отправителя, по образцу в строке.
hint-filter-missed = Что делать с пропущенным: skip, last или all.
filter-rules = Правила журнала
hint-filter-rules = Имена правил, по образцу в строке. Пусто — все.
filter-severities = Важность
hint-filter-severities = debug, info, warning, error; по одной в строке. Пусто — любая.
filter-exact = Атрибуты в точности
hint-filter-exact = type = com.example.done; по одному в строке.
filter-prefix = Атрибуты начинаются с
hint-filter-prefix = source = /ci/; по одному в строке.
filter-suffix = Атрибуты кончаются на
hint-filter-suffix = subject = .txt; по одному в строке.
fault-no-name = Нужно имя.
fault-taken = Это имя уже занято другим триггером.
fault-no-json = { $place }: это не объект JSON: { $why }
dry-run = Проба
dry-run-title = Что запустит { $name }?
dry-run-lede = Решения те же, что для настоящих событий, но ничего не запускается.
dry-run-stored = На том, что приходило
dry-run-last = События последних доставок
dry-run-pasted = На своём событии
dry-run-type = Тип
dry-run-try = Попробовать
dry-run-none = Ничего такого ещё не приходило.
would-match = Подойдёт
would-not-match = Не подойдёт
replay-here = Повторить для этой привязки
replay-title = Повтор
replay-lede = Её события ещё раз, для одной привязки. Что подойдёт, запустится снова.
replay-binding = Привязка
replay-do = Повторить
delivery-dry-run = Что она запустила бы сейчас?
binding-up = Спрашивать раньше
filter-vendor = Отправитель
filter-event = Событие
filter-since = С (UTC)
bulk-replay = Повторить все подходящие
bulk-title = Повторить все подходящие доставки?
bulk-text = Их события рассмотрят ещё раз; задание скажет, сколько сделано. Что подойдёт, запустится снова.
bulk-every-binding = Все привязки
redeliver = Доставить снова
redeliver-hint = Принять снова как есть: её прочтут заново, и она станет отдельной доставкой
diff-compare = Сравнить
diff-with = С какой доставкой
diff-title = Сравнение двух доставок
diff-same = Различий нет.
diff-layout = Различаются только пробелы или порядок ключей.
diff-bytes = Различаются начиная с байта { $at }, и одно из тел — не JSON.
diff-more = Различий больше, чем показано.
diff-absent = нет
diff-at = Где
diff-before = Первая
diff-after = Вторая
delivery-body-operators = Тело запроса доступно операторам.
fact-first = Первая
fact-later = Последующие
form-not-saved = Ничего не сохранено:
