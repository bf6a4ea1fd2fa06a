# The fields of payloads, whose English words are those of their JSON Schemas: by their paths, where a kind of run has words of
# its own with its task before them. `-hint` is the description.

task-clabernetes = Лаборатория в кластере

action = Действие
task-terraform-action-hint = plan и apply: показывается, что изменится, и одобрение применяет именно это. destroy: то же, но для всего. drift: сообщает, соответствует ли мир состоянию, и ничего не меняет.
task-netlab-action-hint = validate: сообщает, что не так с топологией. create: создаёт файлы лаборатории. up, down, collect и status выполняются на узле, где работают лаборатории.
task-clabernetes-action-hint = deploy: разворачивает или изменяет лабораторию и ждёт, пока всё заработает. destroy: убирает её. status: сообщает, как она.
state = Состояние
state-hint = Имя, под которым хранится состояние terraform.
source-workspace = Рабочее пространство
source-workspace-hint = Имя или идентификатор.
source-folder = Папка
source-folder-hint = Внутри папки рабочего пространства.
source-commit = Коммит
source-commit-hint = Идентификатор целиком.
source-branch = Ветка
source-branch-hint = Если пусто — ветка рабочего пространства.
source-inline-files = Файлы
source-files = Файлы
source-files-hint = Тексты по путям; среди них топология.
source-artifact = Артефакт
source-artifact-hint = Идентификатор архива tar, который оставил запуск или который был загружен.
source-topology = Топология
source-topology-hint = Путь к топологии, если он не такой, как обычно.
variables = Переменные
variables-hint = Корневого модуля, по именам; любой JSON.
environment = Окружение
task-terraform-environment-hint = Для terraform, провайдеров и provisioner. Имена, которые меняют сами инструменты, не принимаются.
task-netlab-environment-hint = Дополнительные переменные netlab и того, что он запускает.
auto_approve = Применить без одобрения
auto_approve-hint = Только с действием apply и только там, где установка это разрешает.
approve_within_secs = Сколько ждать одобрения (секунды)
approve_within_secs-hint = После этого план считается отклонённым. 0: никого не спрашивают, нужен только план.
time_limit_secs = Предел времени (секунды)
time_limit_secs-hint = Сколько может длиться запуск.
stop_grace_secs = Время на остановку (секунды)
stop_grace_secs-hint = За это время terraform сохраняет состояние, если запуск отменён.
lab = Лаборатория
lab-hint = Имя лаборатории.
host = Узел
host-hint = Для up, down, collect и status: идентификатор доступа к узлу.
set = Настройки
set-hint = ключ=значение, как у netlab create --set.
wait_secs = Ожидание (секунды)
wait_secs-hint = Сколько можно разворачивать или убирать.
