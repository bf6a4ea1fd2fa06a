# Words of the portal. Both languages have the same keys with the same arguments; a test holds it.
# Numbers arrive as numbers where a plural form depends on them, and as text where they are only shown.

product = Switchyard
skip-to-content = Skip to content
nav-label = Pages
nav-overview = Overview
nav-deliveries = Deliveries
nav-workloads = Workloads
crumbs-label = You are here
menu-label = Preferences
menu-theme = Theme
menu-language = Language
theme-auto = Auto
theme-light = Light
theme-dark = Dark
sign-out = Sign out
close = Close
copy = Copy
copied = Copied
download = Download
see-all = See all
facts = Details
masked = masked

live-toggle = Pause or resume live updates
live-connecting = Connecting
live-on = Live
live-reconnecting = Reconnecting
live-paused = Paused

shortcuts-title = Keyboard shortcuts
shortcut-overview = Go to the overview
shortcut-deliveries = Go to deliveries
shortcut-workloads = Go to workloads
shortcut-next = Next row
shortcut-previous = Previous row
shortcut-open = Open the row
shortcut-filter = Filter the list
shortcut-follow = Follow the log
shortcut-help = This help

time-now = just now
time-seconds-ago = { $n } s ago
time-minutes-ago = { $n } min ago
time-hours-ago = { $n } h ago
time-days-ago = { $n } d ago
time-in-seconds = in { $n } s
time-in-minutes = in { $n } min
time-in-hours = in { $n } h
time-in-days = in { $n } d
duration-milliseconds = { $n } ms
duration-seconds = { $n } s
duration-minutes = { $m } min { $s } s
duration-hours = { $h } h { $m } min
size-bytes = { $n } B
size-kib = { $n } KiB
size-mib = { $n } MiB
count-thousands = { $n }k
count-at-least = { $n }+

state-queued = Queued
state-running = Running
state-waiting = Waiting
state-cancelling = Stopping
state-succeeded = Succeeded
state-dead = Failed
state-cancelled = Cancelled
state-superseded = Superseded

verdict-accepted = Accepted
verdict-ignored = Ignored
verdict-rejected = Rejected
verdict-conflict = Conflict
verdict-accepted-meaning = The signature is right, and it was stored before we answered.
verdict-ignored-meaning = The signature is right, but it reports nothing that a trigger acts on. Nothing is wrong.
verdict-rejected-meaning = It could not be trusted or read, so it started nothing. Compare the secret and the format in the sender’s settings with those of the trigger.
verdict-conflict-meaning = The sender used this id before, for a different body. The first one stands. Send it again with a new id.

column-delivery = Delivery
column-verdict = Verdict
column-became = What it became
column-when = When
column-binding = Binding
column-decision = Decision
column-because = Because
column-job = Job
became-nothing = —
became-pending = Being looked at
became-no-match = No binding matched

job-number = #{ $id }
revision-number = r{ $n }

why-ready = Ready; the next free worker takes it.
why-due = Not due yet: it starts { $when }.
why-retry = Tries again { $when }, after { $error }.
why-queue-busy = Queue { $queue } is busy with { $job }; one job of it runs at a time.
why-queue-paused = Queue { $queue } is paused. It goes on when somebody resumes the queue.
why-at-cap = As many as allowed run already ({ $running }); it starts when one of them ends.
why-no-executor = Nobody takes the task { $task }. Give it an executor, or start a worker for it.
why-leased = Held by { $worker }. If that falls silent, the job goes back { $until }.
why-outside = { $runner } works on it outside. If nothing is heard, it is given up { $deadline }.
why-approval = Somebody has to approve it. Without an answer it is given up { $deadline }.
why-stopping = Asked to stop { $asked }; the worker has not confirmed yet.

overview-title = Overview
figures-label = Numbers
figure-deliveries = Deliveries, 24 h
figure-rejected = { $count } rejected
figure-running = Running
figure-waiting = Waiting
figure-dead = Failed, 24 h
overview-deliveries = Latest deliveries
overview-jobs = Jobs that need time or attention
overview-workloads = Workloads
overview-no-deliveries = Nothing has arrived yet.
overview-no-jobs = Nothing runs, waits or failed. All quiet.
overview-no-workloads = No workload yet.
first-title = Push something
first-text = Nothing has arrived here yet. This makes a small site, a repository for it and a trigger, and pushes a commit:
first-step-delivery = The push arrives as a delivery.
first-step-decision = Bindings decide what it starts, and say why.
first-step-live = A job puts it live, at an address of its own.

deliveries-title = Deliveries
deliveries-lede = Every request that came in from outside, with what we made of it.
deliveries-none = Nothing has arrived yet.
deliveries-no-match = No delivery matches this filter.
filter-verdict = Verdict
filter-trigger = Trigger
filter-any = Any
filter-apply = Filter
filter-clear = Clear the filter
pages-label = More deliveries
pages-newer = Newer
pages-older = Older

delivery-events = Events it made
delivery-no-events = It made no event.
delivery-body = Body
delivery-body-raw = As it came
delivery-body-empty = The body is empty.
delivery-body-truncated = This is only the beginning. The download has all of it.
delivery-headers = Headers
fact-received = Received
fact-answered = Answered with
fact-trigger = Trigger
fact-vendor-id = Sender’s id
fact-id = Id
fact-repeats = Sent again
fact-dispatched = Decided
fact-source = Source
fact-created = Created
fact-attempts = Attempts
fact-ran-for = Ran for
fact-epoch = Epoch
repeats-none = Never
repeats-count = { $count ->
    [one] { $count } time, answered as a duplicate
   *[other] { $count } times, answered as duplicates
}

chain-label = From the delivery to what is live
chain-after = after
chain-delivery = Delivery
chain-event = Event
chain-decision = Decision
chain-job = Job
chain-revision = Revision

event-data = Data
decisions-title = Decisions
decisions-of = bindings of trigger { $trigger }
decisions-pending = The bindings have not been asked yet. This takes a moment.
decisions-none = The trigger has no binding, so nothing could start. Add one to say what a push should do.
decision-matched = Matched
decision-not-matched = Not matched
decision-no-job = None
clause-none = No condition
clause-missing = nothing
clause-held = { $name } is { $actual }, as wanted: { $expected }
clause-failed = { $name } is { $actual }, but it wants { $expected }

job-why = Why it waits:
job-why-running = Now:
job-cancel = Stop
job-payload = Payload
job-result = Result
job-no-result = No result.
job-timeline = What happened
job-attempts = Attempts
job-no-attempts = Not tried yet.
attempts-of = { $used } of { $max }
attempt-number = Attempt { $n }
attempt-running = Running
attempt-succeeded = Succeeded
attempt-failed = Failed
attempt-released = Given back
attempt-lost = Worker lost
attempt-cancelled = Stopped
job-event-queued = Queued
job-event-started = Started
job-event-retrying = Will be tried again
job-event-waiting = Waits
job-event-resumed = Goes on
job-event-lease-lost = The worker fell silent
job-event-cancel-requested = Asked to stop
job-event-cancelled = Stopped
job-event-succeeded = Succeeded
job-event-dead = Failed for good
job-event-superseded = A newer one took its place
job-event-released = Given back by its worker
job-event-stale-refused = A late answer was refused

log-title = Log
log-follow = Follow
log-wrap = Wrap
log-times = Times
log-raw = Raw
log-empty = It printed nothing.
log-empty-yet = Nothing printed yet. Lines appear here as they come.
log-lines = { $count ->
    [one] { $count } line
   *[other] { $count } lines
}
log-earlier = { $count ->
    [one] { $count } earlier line is only in the raw log:
   *[other] { $count } earlier lines are only in the raw log:
}
log-dropped = Older lines have left this page to keep it fast. The raw log has them all.
log-new-lines = New lines: {"{n}"}
log-line-cut = … { $size } more in the raw log

workloads-title = Workloads
workloads-lede = What tasks deploy and keep running.
workload-empty = Empty
workload-deploying = Deploying
workload-live = Live
workload-failed = Last deploy failed
workload-never = Nothing is deployed yet.
workload-live-now = Live now
workload-jobs = Latest jobs
workload-no-jobs = No job yet.
revisions-title = Revisions
revisions-none = No revision yet. The first successful deploy makes one.
revision-live = Live
revision-asked = asked for { $asked }, deployed { $deployed }
bindings-title = What starts it
bindings-none = Nothing starts it by itself. Bind it to a trigger.
binding-of = by trigger { $trigger }
binding-off = off
rollback = Roll back
rollback-title = Roll back to r{ $n }?
rollback-text = { $workload } will serve this revision again. Nothing is built anew.
rollback-from = Live now
rollback-to = Will be live
rollback-note = The next push deploys as usual. You can come back to any revision listed.
rollback-confirm = Roll back
rollback-keep = Keep what is live

sign-in-title = Sign in
sign-in-text = This link works once. Press the button to use it in this browser.
sign-in-button = Sign in here
sign-in-expired-title = This link does not work any more
sign-in-expired-text = A link works once, and only for a short time. Print a new one:
sign-in-needed-title = Please sign in
sign-in-needed-text = Open the one-time link that was printed at start, or print a new one:
signed-out-title = You are signed out

not-found-title = There is no such page
not-found-text = It may have been removed, its retention may be over, or it belongs to another tenant.
forbidden-title = This is not allowed
forbidden-text = Your role does not include it, or the form was open too long. Go back, load the page again, and retry; if it stays, ask an administrator for the operator role.
internal-title = Something went wrong here
internal-text = It is not your fault, and nothing was changed. Try again; if it stays, look into the log.
unavailable-title = The database does not answer
unavailable-text = Nothing accepted is lost, and work goes on by itself when the database is back. Try again in a few seconds.
failure-reference = Find it in the log by { $reference }.
try-again = Try again
go-to-overview = Go to the overview
