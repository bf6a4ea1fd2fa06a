content-type:application/json
x-github-event:create
x-github-delivery:72d3162e-cc78-11e3-81ab-4c9367dc0958

{"ref":"v1.0.0","ref_type":"tag","repository":{"id":1,"name":"site","full_name":"team/site","html_url":"https://github.example.test/team/site","clone_url":"https://github.example.test/team/site.git","ssh_url":"git@github.example.test:team/site.git","default_branch":"main"},"sender":{"login":"ann"}}