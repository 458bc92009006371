{{/* The labels of every object. */}}
{{- define "portlease.labels" -}}
app.kubernetes.io/name: portlease
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* The selector of the allocator's pods. Never change it: a Deployment's selector is immutable. */}}
{{- define "portlease.allocator" -}}
app.kubernetes.io/name: portlease
app.kubernetes.io/component: allocator
{{- end }}

{{/* An image; takes the root scope and an entry of values.images. */}}
{{- define "portlease.image" -}}
{{- $root := index . 0 }}{{ $image := index . 1 -}}
{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default $root.Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The name of the Secret with the allocator's certificate. */}}
{{- define "portlease.tls" -}}
{{ if eq .Values.tls.from "secret" }}{{ .Values.tls.secret }}{{ else }}portlease-tls{{ end }}
{{- end }}

{{/* The namespaces with agents, separated by commas. A duplicate would render two objects of one name, so it fails here. */}}
{{- define "portlease.namespaces" -}}
{{- $all := list -}}
{{- range .Values.games -}}
{{- if has .namespace $all }}{{ fail (printf "games: namespace %s is listed twice: put all its serviceAccounts into one entry" .namespace) }}{{ end -}}
{{- $all = append $all .namespace -}}
{{- end -}}
{{ join "," $all }}
{{- end }}

{{/* Each service account of games as namespace:name, in a YAML list. */}}
{{- define "portlease.accounts" -}}
{{- range .Values.games }}
{{- $namespace := .namespace }}
{{- range .serviceAccounts }}
- {{ printf "%s:%s" $namespace . }}
{{- end }}
{{- end }}
{{- end }}

{{/* The namespaceSelector of a policy about game servers. */}}
{{- define "portlease.inGames" -}}
namespaceSelector:
  matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: In
    values:
    {{- range .Values.games }}
    - {{ .namespace }}
    {{- end }}
{{- end }}
