content-type:application/json
x-gogs-event:delete

{"ref":"v1.0.0","ref_type":"tag","pusher_type":"user","repository":{"id":1,"name":"site","full_name":"team/site","html_url":"http://git.example.test:3000/team/site","clone_url":"http://git.example.test:3000/team/site.git","ssh_url":"git@git.example.test:team/site.git","default_branch":"main"},"sender":{"id":7,"login":"ann","full_name":"Ann","username":"ann"}}