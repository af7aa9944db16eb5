{{/* Whether this rendering holds the given part, "data", "web" or "jobs": "yes" or nothing. A task is rendered alone. */}}
{{- define "tator.has" -}}
{{- $root := index . 0 -}}
{{- $parts := list $root.Values.role -}}
{{- if eq $root.Values.role "all" -}}{{- $parts = list "data" "web" -}}{{- end -}}
{{- if and (not $root.Values.task) (has (index . 1) $parts) -}}yes{{- end -}}
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

{{/* The reference of an image. The third argument, if any, is the key that switches on what needs it. */}}
{{- define "tator.image" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $reference := index $root.Values.images $name -}}
{{- if not $reference -}}
{{- if gt (len .) 2 -}}
{{- fail (printf "%s is true, but images.%s is not set: name the image in the chart's `images` of tbuild.toml, or set %s to false" (index . 2) $name (index . 2)) -}}
{{- end -}}
{{- fail (printf "images.%s is not set: tbuild gives it, a reference by digest; is it in the chart's `images` of tbuild.toml?" $name) -}}
{{- end -}}
{{- $reference -}}
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

{{/* Of a component's pod: an identity of its own, which nothing may use: no pod speaks to the Kubernetes API. */}}
{{- define "tator.identity" -}}
{{- $root := index . 0 -}}
serviceAccountName: {{ index . 1 }}
automountServiceAccountToken: false
{{- include "tator.pullSecrets" $root }}
{{- end -}}

{{/* Several pods of a component are put on several nodes where there are. */}}
{{- define "tator.spread" -}}
{{- $root := index . 0 -}}
{{- if or (gt (int (index . 2)) 1) (gt (len .) 3) -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector: { matchLabels: { app: {{ index . 1 }} } }
{{- end -}}
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

{{- define "tator.choreResources" -}}
{ requests: { cpu: 10m, memory: 16Mi }, limits: { memory: 64Mi } }
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

{{/* All three probes of a component, given what they ask: (list root "httpGet: {...}"). */}}
{{- define "tator.probes" -}}
{{- $root := index . 0 -}}
startupProbe:
  {{ index . 1 }}
  {{- include "tator.startupTimes" $root | nindent 2 }}
readinessProbe:
  {{ index . 1 }}
  {{- include "tator.probeTimes" $root | nindent 2 }}
livenessProbe:
  {{ index . 1 }}
  {{- include "tator.probeTimes" $root | nindent 2 }}
{{- end -}}

{{/* The NFS server of the volume; none where it is a folder of the node. */}}
{{- define "tator.nfsServer" -}}
{{- .Values.pv.nfsServer | default .Values.nfsServer -}}
{{- end -}}

{{- define "tator.loadBalancerIp" -}}
{{- .Values.metallb.loadBalancerIp | default .Values.loadBalancerIp -}}
{{- end -}}

{{/* Whether nginx speaks TLS itself: "yes" or nothing. */}}
{{- define "tator.tls" -}}
{{- if or .Values.tls.existingSecret .Values.tls.cert -}}yes{{- end -}}
{{- end -}}

{{- define "tator.tlsSecret" -}}
{{- .Values.tls.existingSecret | default "tator-tls" -}}
{{- end -}}

{{/* The site as a browser sees it. */}}
{{- define "tator.siteUrl" -}}
{{- $secure := or .Values.requireHttps (include "tator.tls" .) .Values.ingress.tlsSecret -}}
{{- printf "%s://%s" (ternary "https" "http" (not (empty $secure))) .Values.domain -}}
{{- end -}}

{{/* The database server itself. In older values files postgresHost may be the pool in front of it. */}}
{{- define "tator.databaseHost" -}}
{{- if and .Values.postgis.enabled (eq .Values.postgresHost "pgbouncer-svc") -}}postgis-svc{{- else -}}{{ .Values.postgresHost }}{{- end -}}
{{- end -}}

{{/* Where a role that does not install the data tier finds Redis. */}}
{{- define "tator.redisHost" -}}
{{- if eq .Values.role "jobs" -}}{{ .Values.remoteTranscodes.host }}{{- else -}}{{ .Values.redisHost }}{{- end -}}
{{- end -}}

{{- define "tator.redisPort" -}}
{{- if eq .Values.role "jobs" -}}{{ .Values.remoteTranscodes.port }}{{- else -}}{{ .Values.redisPort }}{{- end -}}
{{- end -}}
