content-type:application/json
x-gitea-event:create
x-gogs-event:create
x-github-event:create

{"sha":"2222222222222222222222222222222222222222","ref":"v1.0.0","ref_type":"tag","repository":{"id":1,"name":"site","full_name":"team/site","html_url":"http://git.example.test:3000/team/site","clone_url":"http://git.example.test:3000/team/site.git","ssh_url":"git@git.example.test:team/site.git","default_branch":"main"},"sender":{"id":7,"login":"ann","full_name":"Ann","username":"ann"}}