{{/* nginx's configuration: who answers which path. */}}
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
  {{- if .Values.requireHttps }}
  # Whether a browser has to come again, by TLS. Probes of the cluster need not.
  map "$scheme_seen $uri" $insecure { default 0; "http /nginx-healthz" 0; "~^http " 1; }
  {{- end }}
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

  proxy_http_version 1.1;
  proxy_connect_timeout 5s;
  # A client that leaves does not end what it has started.
  proxy_ignore_client_abort on;

  # One address each, a Service: it is never set aside. It is named several times, so that a request that can be
  # repeated is made again when the process that took its connection went before it answered: where processes are
  # replaced, the next one may go as well.
  proxy_next_upstream_timeout 30s;
  upstream gunicorn {
    {{- include "tator.nginxTries" "gunicorn-svc:8000" | nindent 4 }}
  }
  {{- if .Values.ui.enabled }}
  upstream ui {
    {{- include "tator.nginxTries" "ui-svc:3000" | nindent 4 }}
  }
  {{- end }}
  {{- if .Values.objectStore.enabled }}
  upstream objectstore {
    {{- include "tator.nginxTries" "objectstore-svc:9000" | nindent 4 }}
  }
  {{- end }}
  {{- range .Values.redirects }}

  server {
    listen 8080;
    {{- if include "tator.tls" $ }}
    listen 8443 ssl;
    {{- include "tator.nginxTls" $ | nindent 4 }}
    {{- end }}
    server_name {{ . }};
    return 301 {{ include "tator.siteUrl" $ }}$request_uri;
  }
  {{- end }}

  server {
    listen 8080 default_server;
    {{- if include "tator.tls" . }}
    listen 8443 ssl default_server;
    {{- include "tator.nginxTls" . | nindent 4 }}
    {{- end }}
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
    {{- if .Values.requireHttps }}

    if ($insecure) { return 301 https://$host$request_uri; }
    {{- end }}

    {{- include "tator.nginxStatic" . | nindent 4 }}
    {{- include "tator.nginxMedia" . | nindent 4 }}
    {{- if .Values.ui.enabled }}

    # Pages: every other path is the API's, the administration's or a log-in's.
    location ~ "^/(rest/?|[0-9]+/.*)?$" {
      {{- include "tator.nginxUi" . | nindent 6 }}
    }
    location ~ "^/(callback|exchange|refresh|projects|token|organizations|registration|accept|account-profile|password-reset|permission-settings|favicon\.ico)" {
      {{- include "tator.nginxUi" . | nindent 6 }}
    }
    {{- end }}

    # Streams of rows: passed on as they come, for as long as they take.
    location ~ "^/rest/(Localizations|Medias|States)" {
      {{- include "tator.nginxSite" (list . 1200) | nindent 6 }}
      proxy_buffering off;
      proxy_request_buffering off;
    }

    location / {
      {{- include "tator.nginxSite" (list . (max 1200 (int .Values.gunicorn.timeoutSeconds))) | nindent 6 }}
    }
    {{- end }}
  }
}
{{- end -}}

{{/* An address as often as a request is made. */}}
{{- define "tator.nginxTries" -}}
{{- range until 4 }}
server {{ $ }} max_fails=0;
{{- end }}
{{- end -}}

{{- define "tator.nginxTls" -}}
ssl_certificate /etc/tator/tls/tls.crt;
ssl_certificate_key /etc/tator/tls/tls.key;
ssl_protocols TLSv1.2 TLSv1.3;
ssl_session_cache shared:tls:4m;
ssl_session_tickets off;
{{- end -}}

{{- define "tator.nginxStatic" }}
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
{{- if .Values.ui.enabled }}
# What the set does not have is the user interface's own.
location /static/ {
  alias /srv/static/current/;
  add_header Cache-Control "no-cache";
  log_not_found off;
  error_page 404 = @ui;
  error_page 405 = @ui;
}
location @ui {
  {{- include "tator.nginxUi" . | nindent 2 }}
}
location {{ include "tator.uiStatic" . }}/ {
  {{- include "tator.nginxUi" . | nindent 2 }}
}
{{- else }}
location /static/ {
  alias /srv/static/current/;
  add_header Cache-Control "no-cache";
}
{{- end }}
location ~ "^/static/(.*/)?\." { return 404; }
{{- end -}}

{{- define "tator.nginxMedia" }}

# Files of the volume, to whoever the site says may see them.
location /media/ {
  auth_request /auth-project;
  alias /srv/media/;
  add_header Cache-Control "max-age=3600, must-revalidate";
  add_header Access-Control-Allow-Headers "Authorization,X-CSRFToken" always;
  {{- include "tator.nginxIsolation" . | nindent 2 }}
}
location /media/working { return 403; }
location = /auth-project {
  internal;
  {{- include "tator.nginxSite" (list . 1200) | nindent 2 }}
  proxy_pass_request_body off;
  proxy_set_header Content-Length "";
  proxy_set_header X-Original-URI $request_uri;
}
{{- if .Values.objectStore.enabled }}

# The object store: signatures hold for the name that the site knows it by.
location /objects/ {
  proxy_pass http://objectstore/;
  proxy_set_header Host objectstore-svc:9000;
  proxy_set_header Connection "";
  proxy_buffering off;
  proxy_request_buffering off;
  proxy_read_timeout 1200s;
  proxy_send_timeout 1200s;
}
{{- end }}
{{- end -}}

{{/* Pages may share memory between threads, which browsers allow only to those that are by themselves. */}}
{{- define "tator.nginxIsolation" -}}
add_header Cross-Origin-Opener-Policy same-origin;
add_header Cross-Origin-Embedder-Policy credentialless;
{{- end -}}

{{- define "tator.nginxForwarded" -}}
proxy_set_header Connection "";
proxy_set_header Host $http_host;
proxy_set_header X-Real-IP $remote_addr;
proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
proxy_set_header X-Forwarded-Host $http_host;
proxy_set_header X-Forwarded-Proto $scheme_seen;
{{- end -}}

{{- define "tator.nginxUi" -}}
proxy_pass http://ui;
{{ include "tator.nginxForwarded" . }}
{{ include "tator.nginxIsolation" . }}
{{- end -}}

{{/* Of gunicorn, with how long an answer may take. */}}
{{- define "tator.nginxSite" -}}
{{- $seconds := index . 1 -}}
proxy_pass http://gunicorn;
{{ include "tator.nginxForwarded" (index . 0) }}
{{ include "tator.nginxIsolation" (index . 0) }}
proxy_read_timeout {{ $seconds }}s;
proxy_send_timeout {{ $seconds }}s;
{{- end -}}
