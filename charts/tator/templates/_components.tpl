{{/* What this rendering installs, as JSON: a list of components with
     name      of the Deployment, and the label `app` of its pods
     replicas  0 where it is not to be disrupted carefully: one pod, or nobody waits for it
     from      who connects to it: labels `app`; ["*"] anybody, ["site"] every process of the site
     ports     where
     to        whom it connects to, where that is certain: `app` to port; null where it is not */}}
{{- define "tator.components" -}}
{{- $v := .Values -}}
{{- $all := list -}}
{{- if include "tator.has" (list . "data") -}}
{{- if $v.postgis.enabled -}}
{{- $all = append $all (dict "name" "postgis" "replicas" 1 "from" (list "site" "pgbouncer") "ports" (list "postgres") "to" dict) -}}
{{- end -}}
{{- if $v.redis.enabled -}}
{{- $all = append $all (dict "name" "redis" "replicas" 1 "from" (list "site" "transcode" "transcode-worker") "ports" (list "redis") "to" dict) -}}
{{- end -}}
{{- if $v.pgbouncer.enabled -}}
{{- $all = append $all (dict "name" "pgbouncer" "replicas" $v.pgbouncer.replicas "from" (list "site") "ports" (list "postgres") "to" (ternary (dict "postgis" "postgres") nil $v.postgis.enabled)) -}}
{{- end -}}
{{- if $v.objectStore.enabled -}}
{{- $all = append $all (dict "name" "objectstore" "replicas" 1 "from" (list "site" "nginx" "transcode-worker") "ports" (list "s3") "to" dict) -}}
{{- end -}}
{{- if and $v.postgis.enabled $v.backup.enabled -}}
{{- $all = append $all (dict "name" "backup" "job" true "from" list "ports" list "to" nil) -}}
{{- end -}}
{{- $all = append $all (dict "name" "volume-folders" "job" true "from" list "ports" list "to" dict) -}}
{{- end -}}
{{- if include "tator.has" (list . "web") -}}
{{- $gunicorn := dict "name" "gunicorn" "replicas" (ternary $v.hpa.gunicornMaxReplicas $v.gunicorn.replicas $v.hpa.enabled) "from" (list "nginx" "transcode" "transcode-worker") "ports" (list "http") "to" nil -}}
{{- $nginxTo := dict "gunicorn" "http" -}}
{{- if $v.ui.enabled -}}{{- $_ := set $nginxTo "ui" "http" -}}{{- end -}}
{{- if $v.objectStore.enabled -}}{{- $_ := set $nginxTo "objectstore" "s3" -}}{{- end -}}
{{- $nginx := dict "name" "nginx" "replicas" (ternary $v.hpa.nginxMaxReplicas $v.nginx.replicas $v.hpa.enabled) "from" (list "*") "ports" (ternary (list "http" "https") (list "http") (ne (include "tator.tls" .) "")) "to" $nginxTo -}}
{{- $all = concat $all (list $gunicorn $nginx) -}}
{{- if $v.ui.enabled -}}
{{- $all = append $all (dict "name" "ui" "replicas" $v.ui.replicas "from" (list "nginx") "ports" (list "http") "to" nil) -}}
{{- end -}}
{{- if $v.transcode.enabled -}}
{{- $all = append $all (dict "name" "transcode" "replicas" $v.transcode.replicas "from" (list "site") "ports" (list "http") "to" nil) -}}
{{- end -}}
{{- if $v.dbWorker.enabled -}}
{{- $all = append $all (dict "name" "db-worker" "replicas" 0 "from" list "ports" list "to" nil) -}}
{{- end -}}
{{- if $v.imageWorker.enabled -}}
{{- $all = append $all (dict "name" "image-worker" "replicas" 0 "from" list "ports" list "to" nil) -}}
{{- end -}}
{{- range $v.workers -}}
{{- $all = append $all (dict "name" .name "replicas" 0 "from" list "ports" list "to" nil) -}}
{{- end -}}
{{- if or $v.cron.enabled $v.cronJobs -}}
{{- $all = append $all (dict "name" "cron" "job" true "from" list "ports" list "to" nil) -}}
{{- end -}}
{{- if include "tator.tls" . -}}
{{- $all = append $all (dict "name" "certificate" "job" true "from" list "ports" list "to" dict) -}}
{{- end -}}
{{- end -}}
{{- if and (or (include "tator.has" (list . "web")) (include "tator.has" (list . "jobs"))) $v.transcodeWorker.enabled -}}
{{- $all = append $all (dict "name" "transcode-worker" "replicas" 0 "from" list "ports" list "to" nil) -}}
{{- end -}}
{{- dict "components" $all | toJson -}}
{{- end -}}
