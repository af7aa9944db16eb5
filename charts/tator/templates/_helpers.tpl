{{/* Whether this rendering holds the given part, "data" or "web": "yes" or nothing. A task is rendered alone. */}}
{{- define "tator.has" -}}
{{- $root := index . 0 -}}
{{- if and (not $root.Values.task) (has $root.Values.role (list "all" (index . 1))) -}}yes{{- end -}}
{{- end -}}

{{/* Labels of everything. The component's name comes as the second argument and is the selector's label. */}}
{{- define "tator.labels" -}}
{{- $root := index . 0 -}}
app: {{ index . 1 }}
app.kubernetes.io/name: tator
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- end -}}

{{/* The reference of an image. */}}
{{- define "tator.image" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- required (printf "images.%s is not set: tbuild gives it, a reference by digest" $name) (index $root.Values.images $name) -}}
{{- end -}}

{{/* An image of the data tier with a shell, for chores on the volume. */}}
{{- define "tator.choreImage" -}}
{{- if .Values.postgis.enabled -}}{{ include "tator.image" (list . "postgis") }}
{{- else if .Values.redis.enabled -}}{{ include "tator.image" (list . "redis") }}
{{- else -}}{{ include "tator.image" (list . "nginx") }}{{- end -}}
{{- end -}}

{{- define "tator.pullSecrets" -}}
{{- if and .Values.dockerUsername .Values.dockerPassword }}
imagePullSecrets:
  - name: tator-registry
{{- end }}
{{- end -}}

{{/* The security context of a pod whose processes run as one unprivileged user. */}}
{{- define "tator.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "tator.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{/* Of a container that hands folders of a volume to those who use them. */}}
{{- define "tator.choreSecurity" -}}
runAsNonRoot: false
runAsUser: 0
runAsGroup: 0
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL], add: [CHOWN, DAC_OVERRIDE, FOWNER] }
{{- end -}}

{{- define "tator.probeTimes" -}}
periodSeconds: {{ .Values.probes.periodSeconds }}
timeoutSeconds: {{ .Values.probes.timeoutSeconds }}
failureThreshold: {{ .Values.probes.failureThreshold }}
{{- end -}}

{{/* A start is asked for every second, so that it is seen at once. */}}
{{- define "tator.startupTimes" -}}
periodSeconds: 1
timeoutSeconds: {{ .Values.probes.timeoutSeconds }}
failureThreshold: {{ .Values.probes.startupSeconds }}
{{- end -}}

{{/* The NFS server of the volume; none where it is a folder of the node. */}}
{{- define "tator.nfsServer" -}}
{{- .Values.pv.nfsServer | default .Values.nfsServer -}}
{{- end -}}

{{- define "tator.loadBalancerIp" -}}
{{- .Values.metallb.loadBalancerIp | default .Values.loadBalancerIp -}}
{{- end -}}

{{/* What the site's pods restart for when a secret changes. Salted by the key, which cannot be guessed. */}}
{{- define "tator.secretSum" -}}
{{- list .Values.djangoSecretKey .Values.postgresUsername .Values.postgresPassword | toJson | sha256sum | trunc 16 -}}
{{- end -}}

{{/* The environment of the site's processes. */}}
{{- define "tator.env" -}}
- { name: MAIN_HOST, value: {{ .Values.domain | quote }} }
- { name: ALIAS_HOSTS, value: {{ join "," .Values.aliasHosts | quote }} }
- { name: REQUIRE_HTTPS, value: {{ ternary "TRUE" "FALSE" .Values.requireHttps | quote }} }
- { name: POSTGRES_HOST, value: {{ .Values.postgresHost | quote }} }
- { name: POSTGRES_PORT, value: {{ .Values.postgresPort | quote }} }
- { name: POSTGRES_DB, value: {{ .Values.postgresDatabase | quote }} }
- name: POSTGRES_USER
  valueFrom: { secretKeyRef: { name: tator-secrets, key: postgresUsername } }
- name: POSTGRES_PASSWORD
  valueFrom: { secretKeyRef: { name: tator-secrets, key: postgresPassword } }
- name: DJANGO_SECRET_KEY
  valueFrom: { secretKeyRef: { name: tator-secrets, key: djangoSecretKey } }
- { name: REDIS_HOST, value: {{ .Values.redisHost | quote }} }
- { name: GUNICORN_HOST, value: "http://gunicorn-svc:8000" }
- { name: HOME, value: /tmp }
{{- range $name, $value := .Values.env }}
- { name: {{ $name }}, value: {{ $value | quote }} }
{{- end }}
{{- end -}}

{{/* What the site's processes see of the volume. */}}
{{- define "tator.siteMounts" -}}
- { name: tmp, mountPath: /tmp }
- { name: main, mountPath: /static, subPath: static, readOnly: true }
- { name: main, mountPath: /media, subPath: media }
- { name: main, mountPath: /data/raw, subPath: raw }
- { name: main, mountPath: /backup, subPath: backup }
{{- if .Values.migrate.generated }}
- { name: main, mountPath: /tator_online/main/migrations, subPath: migrations }
{{- end }}
{{- end -}}

{{- define "tator.siteVolumes" -}}
- { name: tmp, emptyDir: {} }
- { name: main, persistentVolumeClaim: { claimName: main-pv-claim } }
{{- end -}}
