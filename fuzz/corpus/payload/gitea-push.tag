content-type:application/json
x-gitea-event:push
x-gogs-event:push
x-github-event:push

{"ref":"refs/tags/v1.0.0","before":"0000000000000000000000000000000000000000","after":"2222222222222222222222222222222222222222","compare_url":"http://git.example.test:3000/team/site/compare/1...2","commits":[],"total_commits":0,"head_commit":{"id":"2222222222222222222222222222222222222222","message":"Fix the menu\n","timestamp":"2026-03-01T12:00:00Z","author":{"name":"Ann","email":"ann@example.test","username":"ann"},"added":[],"removed":[],"modified":[]},"repository":{"id":1,"name":"site","full_name":"team/site","html_url":"http://git.example.test:3000/team/site","clone_url":"http://git.example.test:3000/team/site.git","ssh_url":"git@git.example.test:team/site.git","default_branch":"main"},"pusher":{"id":7,"login":"ann","full_name":"Ann","username":"ann"},"sender":{"id":7,"login":"ann","full_name":"Ann","username":"ann"}}