{{/* nginx's configuration: static files from the volume, everything else from gunicorn. */}}
{{- define "tator.nginxConfig" -}}
pid /tmp/nginx.pid;
error_log stderr warn;
worker_processes 2;
events { worker_connections 1024; }

http {
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  # An unknown scheme in front of us is our own.
  map $http_x_forwarded_proto $scheme_seen { default $http_x_forwarded_proto; "" $scheme; }
  access_log /dev/stdout;
  sendfile on;
  server_tokens off;
  client_max_body_size 0;
  client_body_temp_path /tmp/client_body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  gzip on;
  gzip_vary on;
  gzip_min_length 512;
  gzip_types text/css text/plain application/javascript application/json image/svg+xml;

  upstream gunicorn {
    # One address, a Service: it is never set aside.
    server gunicorn-svc:8000 max_fails=0;
  }

  server {
    listen 8080;
    server_name _;

    location = /nginx-healthz {
      access_log off;
      default_type text/plain;
      return 200 "ok\n";
    }

    error_page 502 503 504 /502.html;
    location = /502.html {
      root /usr/share/tator;
      internal;
    }
    {{- if .Values.maintenance }}

    location / { return 503; }
    {{- else }}

    # A set of static files never changes: its name is its content's digest.
    location ~ "^/static/[0-9a-f]{64}/" {
      root /srv;
      add_header Cache-Control "public, max-age=31536000, immutable";
    }
    # The current set, for whoever names none, or names the link.
    location /static/current/ {
      alias /srv/static/current/;
      add_header Cache-Control "no-cache";
    }
    location /static/ {
      alias /srv/static/current/;
      add_header Cache-Control "no-cache";
    }
    location ~ "^/static/(.*/)?\." { return 404; }
    {{- if .Values.requireHttps }}

    if ($scheme_seen = http) { return 301 https://$host$request_uri; }
    {{- end }}

    location / {
      proxy_pass http://gunicorn;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme_seen;
      proxy_read_timeout {{ .Values.gunicorn.timeoutSeconds }}s;
      proxy_send_timeout {{ .Values.gunicorn.timeoutSeconds }}s;
      proxy_connect_timeout 5s;
    }
    {{- end }}
  }
}
{{- end -}}
