{{/* The database, as PostgreSQL's own programs are told of it. */}}
{{- define "tator.databaseEnv" -}}
- { name: PGHOST, value: {{ include "tator.databaseHost" . | quote }} }
- { name: PGPORT, value: {{ .Values.postgresPort | quote }} }
- { name: PGDATABASE, value: {{ .Values.postgresDatabase | quote }} }
- name: PGUSER
  valueFrom: { secretKeyRef: { name: tator-secrets, key: postgresUsername } }
- name: PGPASSWORD
  valueFrom: { secretKeyRef: { name: tator-secrets, key: postgresPassword } }
{{- end -}}

{{/* Where backups are, and whose they are: the database's container shows them. */}}
{{- define "tator.backupEnv" -}}
{{- include "tator.databaseEnv" . }}
- { name: ROOT, value: /main }
- { name: FOLDER, value: /main/backup }
- { name: OWNER, value: "10001:10004" }
- { name: KEEP, value: {{ .Values.backup.keep | quote }} }
{{- end -}}
