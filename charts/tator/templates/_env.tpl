{{/* What the site's pods restart for when a secret changes. Salted by the key, which cannot be guessed. */}}
{{- define "tator.secretSum" -}}
{{- $all := list .Values.djangoSecretKey .Values.postgresUsername .Values.postgresPassword -}}
{{- range $name, $value := fromYaml (include "tator.optionalSecrets" .) -}}
{{- $all = append $all (printf "%s=%s" $name $value) -}}
{{- end -}}
{{- $all | toJson | sha256sum | trunc 16 -}}
{{- end -}}

{{/* Secrets that only some sites have: names in tator-secrets to values. */}}
{{- define "tator.optionalSecrets" -}}
{{- if and .Values.objectStore.accessKey .Values.objectStore.secretKey }}
objectStoreAccessKey: {{ .Values.objectStore.accessKey | quote }}
objectStoreSecretKey: {{ .Values.objectStore.secretKey | quote }}
{{- end }}
{{- with .Values.redisPassword }}
redisPassword: {{ . | quote }}
{{- end }}
{{- if .Values.okta.enabled }}
oktaSecret: {{ .Values.okta.oauth2_secret | quote }}
{{- end }}
{{- if .Values.email.enabled }}
emailPassword: {{ .Values.email.password | quote }}
emailConnection: {{ .Values.email.connectionString | quote }}
{{- end }}
{{- with .Values.slackToken }}
slackToken: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* One variable out of tator-secrets: its name and the key. */}}
{{- define "tator.secretEnv" -}}
- name: {{ index . 0 }}
  valueFrom: { secretKeyRef: { name: tator-secrets, key: {{ index . 1 }} } }
{{- end -}}

{{/* Who has to do with Redis alone. */}}
{{- define "tator.redisEnv" -}}
- { name: REDIS_HOST, value: {{ include "tator.redisHost" . | quote }} }
{{- $port := include "tator.redisPort" . }}
{{- if ne $port "6379" }}
- { name: REDIS_PORT, value: {{ $port | quote }} }
{{- end }}
{{- if or .Values.redisPassword (eq .Values.role "jobs") }}
{{ include "tator.secretEnv" (list "REDIS_PASSWORD" "redisPassword") }}
{{- end }}
{{- end -}}

{{/* The environment of the site's processes. */}}
{{- define "tator.env" -}}
- { name: MAIN_HOST, value: {{ .Values.domain | quote }} }
- { name: ALIAS_HOSTS, value: {{ join "," .Values.aliasHosts | quote }} }
- { name: REQUIRE_HTTPS, value: {{ ternary "TRUE" "FALSE" .Values.requireHttps | quote }} }
{{- /* Tasks go to the database itself: a pool may share a session that a migration needs for itself. */}}
{{- $pool := and .Values.pgbouncer.enabled (not .Values.task) }}
- { name: POSTGRES_HOST, value: {{ ternary "pgbouncer-svc" (include "tator.databaseHost" .) $pool | quote }} }
- { name: POSTGRES_PORT, value: {{ ternary "5432" (toString .Values.postgresPort) $pool | quote }} }
- { name: POSTGRES_DB, value: {{ .Values.postgresDatabase | quote }} }
{{ include "tator.secretEnv" (list "POSTGRES_USER" "postgresUsername") }}
{{ include "tator.secretEnv" (list "POSTGRES_PASSWORD" "postgresPassword") }}
{{ include "tator.secretEnv" (list "DJANGO_SECRET_KEY" "djangoSecretKey") }}
{{ include "tator.redisEnv" . }}
- { name: GUNICORN_HOST, value: {{ ternary (include "tator.siteUrl" .) "http://gunicorn-svc:8000" .Values.remoteTranscodes.enabled | quote }} }
{{- if or .Values.transcode.enabled .Values.transcodeHost }}
- { name: TRANSCODE_HOST, value: {{ .Values.transcodeHost | default "http://transcode-svc" | quote }} }
{{- end }}
{{- include "tator.objectEnv" . }}
{{- include "tator.accountEnv" . }}
- { name: HOME, value: /tmp }
{{- range $name, $value := .Values.env }}
- { name: {{ $name }}, value: {{ $value | quote }} }
{{- end }}
{{- end -}}

{{/* Where media lie: the chart's own object store, another one, or none. */}}
{{- define "tator.objectEnv" -}}
{{- with .Values.objectStore }}
{{- if or .enabled .endpoint }}
{{ include "tator.secretEnv" (list "DEFAULT_LIVE_ACCESS_KEY" "objectStoreAccessKey") }}
{{ include "tator.secretEnv" (list "DEFAULT_LIVE_SECRET_KEY" "objectStoreSecretKey") }}
- { name: DEFAULT_LIVE_ENDPOINT_URL, value: {{ include "tator.objectEndpoint" $ | quote }} }
- { name: DEFAULT_LIVE_REGION_NAME, value: {{ .region | quote }} }
- { name: DEFAULT_LIVE_BUCKET_NAME, value: {{ .bucket | quote }} }
- { name: DEFAULT_LIVE_STORE_TYPE, value: {{ .storeType | quote }} }
{{- /* Kubernetes puts in the variables above. */}}
- name: DEFAULT_LIVE_CONFIG
  value: {{ dict "aws_access_key_id" "$(DEFAULT_LIVE_ACCESS_KEY)" "aws_secret_access_key" "$(DEFAULT_LIVE_SECRET_KEY)" "endpoint_url" (include "tator.objectEndpoint" $) "region_name" .region | toJson | quote }}
{{- with .externalUrl | default (ternary (printf "%s/objects" (include "tator.siteUrl" $)) "" .enabled) }}
- { name: DEFAULT_LIVE_EXTERNAL_HOST, value: {{ . | quote }} }
{{- end }}
{{- with .altBucket }}
- { name: DEFAULT_ALT_BUCKET_NAME, value: {{ . | quote }} }
{{- end }}
- { name: HAS_ALT_BUCKET, value: {{ ternary "true" "false" (ne .altBucket "") | quote }} }
{{- if .enabled }}
# Tator's word for "the object store is behind our own nginx".
- { name: COMPOSE_DEPLOY, value: "true" }
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "tator.objectEndpoint" -}}
{{- if .Values.objectStore.enabled -}}http://objectstore-svc:9000{{- else -}}{{ .Values.objectStore.endpoint }}{{- end -}}
{{- end -}}

{{/* Who may have an account, and how users prove who they are. */}}
{{- define "tator.accountEnv" -}}
{{- if .Values.anonymousRegistration.enabled }}
- { name: ANONYMOUS_REGISTRATION_ENABLED, value: "true" }
{{- end }}
{{- if .Values.anonymousRegistration.emailConfirmation }}
- { name: EMAIL_CONFIRMATION, value: "true" }
{{- end }}
{{- /* The site asks only whether these are there. */}}
{{- if .Values.organizations.autocreate }}
- { name: AUTOCREATE_ORGANIZATIONS, value: "true" }
{{- end }}
{{- if .Values.organizations.allowPost }}
- { name: ALLOW_ORGANIZATION_POST, value: "true" }
{{- end }}
{{- if .Values.cognito.enabled }}
- { name: COGNITO_ENABLED, value: "TRUE" }
{{- end }}
{{- with .Values.okta }}
{{- if .enabled }}
- { name: OKTA_ENABLED, value: "TRUE" }
- { name: OKTA_OAUTH2_KEY, value: {{ .oauth2_key | quote }} }
{{ include "tator.secretEnv" (list "OKTA_OAUTH2_SECRET" "oktaSecret") }}
- { name: OKTA_OAUTH2_TOKEN_URI, value: {{ .oauth2_token_uri | quote }} }
- { name: OKTA_OAUTH2_ISSUER, value: {{ .oauth2_issuer | quote }} }
- { name: OKTA_OAUTH2_AUTH_URI, value: {{ .oauth2_auth_uri | quote }} }
- { name: OKTA_OAUTH2_USERINFO_URI, value: {{ .oauth2_userinfo_uri | quote }} }
{{- end }}
{{- end }}
{{- with .Values.saml }}
{{- if .enabled }}
- { name: SAML_ENABLED, value: "TRUE" }
- { name: SAML_METADATA_URL, value: {{ .metadata_url | quote }} }
- { name: SAML_SSO_URL, value: {{ .sso_url | quote }} }
{{- end }}
{{- end }}
{{- with .Values.email }}
{{- if .enabled }}
- { name: TATOR_EMAIL_ENABLED, value: "TRUE" }
- { name: TATOR_EMAIL_SENDER, value: {{ .sender | quote }} }
- { name: TATOR_EMAIL_HOST, value: {{ .host | quote }} }
- { name: TATOR_EMAIL_PORT, value: {{ .port | quote }} }
- { name: TATOR_EMAIL_USER, value: {{ .user | quote }} }
{{ include "tator.secretEnv" (list "TATOR_EMAIL_PASSWORD" "emailPassword") }}
{{ include "tator.secretEnv" (list "TATOR_EMAIL_CONNECTION_STRING" "emailConnection") }}
- { name: TATOR_EMAIL_NOTIFY_STAFF, value: {{ ternary "TRUE" "FALSE" .notifyStaff | quote }} }
{{- end }}
{{- end }}
{{- if .Values.slackToken }}
{{ include "tator.secretEnv" (list "TATOR_SLACK_TOKEN" "slackToken") }}
- { name: TATOR_SLACK_CHANNEL, value: {{ .Values.slackChannel | quote }} }
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
{{- if .Values.cognito.enabled }}
- { name: cognito, mountPath: /cognito, readOnly: true }
{{- end }}
{{- end -}}

{{- define "tator.siteVolumes" -}}
- { name: tmp, emptyDir: {} }
- { name: main, persistentVolumeClaim: { claimName: main-pv-claim } }
{{- if .Values.cognito.enabled }}
- { name: cognito, secret: { secretName: tator-cognito } }
{{- end }}
{{- end -}}
