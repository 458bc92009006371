{{/* What every object of the chart is labeled with. */}}
{{- define "portlease.labels" -}}
app.kubernetes.io/name: portlease
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* What the allocator's pods are found by. It stays the same for ever: a Deployment's selector cannot change. */}}
{{- define "portlease.allocator" -}}
app.kubernetes.io/name: portlease
app.kubernetes.io/component: allocator
{{- end }}

{{/* An image: of the whole scope and its entry in values.images. */}}
{{- define "portlease.image" -}}
{{- $root := index . 0 }}{{ $image := index . 1 -}}
{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default $root.Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The Secret with the allocator's certificate. */}}
{{- define "portlease.tls" -}}
{{ if eq .Values.tls.from "secret" }}{{ .Values.tls.secret }}{{ else }}portlease-tls{{ end }}
{{- end }}

{{/* The namespaces with agents, with commas between. One that is named twice is a mistake that would show as two objects of one name. */}}
{{- define "portlease.namespaces" -}}
{{- $all := list -}}
{{- range .Values.games -}}
{{- if has .namespace $all }}{{ fail (printf "games: namespace %s is there twice: put all its serviceAccounts into one entry" .namespace) }}{{ end -}}
{{- $all = append $all .namespace -}}
{{- end -}}
{{ join "," $all }}
{{- end }}
