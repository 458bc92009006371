{{/*
The agent's container: the block of docs/sidecar.md, with the image and settings of the values. A variable of
injection.env replaces the one of that name here.
*/}}
{{- define "portlease.agent" -}}
name: portlease
image: {{ include "portlease.image" (list . .Values.images.agent) }}
imagePullPolicy: {{ .Values.images.pullPolicy }}
restartPolicy: Always
env:
{{- $own := list }}
{{- range .Values.injection.env }}{{ $own = append $own .name }}{{ end }}
{{- range list
  (list "PORTLEASE_PORTS" "metadata.annotations['portlease.dev/ports']")
  (list "PORTLEASE_POOL" "metadata.annotations['portlease.dev/pool']")
  (list "PORTLEASE_HEALTH" "metadata.annotations['portlease.dev/health']")
  (list "PORTLEASE_NAMESPACE" "metadata.namespace")
  (list "PORTLEASE_POD" "metadata.name")
  (list "PORTLEASE_POD_UID" "metadata.uid")
  (list "PORTLEASE_POD_IP" "status.podIP") }}
{{- if not (has (first .) $own) }}
- {name: {{ first . }}, valueFrom: {fieldRef: {fieldPath: {{ last . | quote }}}}}
{{- end }}
{{- end }}
{{- if and (ne .Release.Namespace "portlease") (not (has "PORTLEASE_ALLOCATOR" $own)) }}
- {name: PORTLEASE_ALLOCATOR, value: "https://portlease-allocator.{{ .Release.Namespace }}.svc"}
{{- end }}
{{- if and .Values.aws.region (not (has "AWS_REGION" $own)) }}
- {name: AWS_REGION, value: {{ .Values.aws.region | quote }}}
{{- end }}
{{- with .Values.injection.env }}
{{ toYaml . }}
{{- end }}
ports:
- {name: portlease, containerPort: 9901, protocol: TCP}
startupProbe: {httpGet: {path: /startupz, port: portlease}, periodSeconds: 1, failureThreshold: 3600}
readinessProbe: {httpGet: {path: /readyz, port: portlease}, periodSeconds: 5}
livenessProbe: {httpGet: {path: /livez, port: portlease}, periodSeconds: 10, failureThreshold: 6}
lifecycle: {preStop: {exec: {command: [/agent, prestop]}}}
terminationMessagePolicy: FallbackToLogsOnError
resources: {{- toYaml .Values.injection.resources | nindent 2 }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
volumeMounts:
- {name: portlease, mountPath: /portlease}
- {name: portlease-identity, mountPath: /var/run/secrets/portlease, readOnly: true}
{{- end }}

{{/* The agent's volumes. */}}
{{- define "portlease.volumes" -}}
- name: portlease
  emptyDir: {medium: Memory}
- name: portlease-identity
  projected:
    sources:
    - serviceAccountToken: {path: token, audience: portlease, expirationSeconds: 600}
    - serviceAccountToken: {path: kube-token, expirationSeconds: 600}
    - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: kube-ca.crt}]}
    - configMap: {name: portlease-ca, items: [{key: ca.crt, path: ca.crt}]}
{{- end }}

{{/*
A value as a CEL literal. All values of a CEL map or list have one type, so each is wrapped in dyn().
*/}}
{{- define "portlease.cel" -}}
{{- if kindIs "map" . -}}
{{- $fields := list }}
{{- range $key, $value := . }}{{ $fields = append $fields (printf "%s: dyn(%s)" (toJson $key) (include "portlease.cel" $value)) }}{{ end -}}
{ {{- join ", " $fields -}} }
{{- else if kindIs "slice" . -}}
{{- $items := list }}
{{- range . }}{{ $items = append $items (printf "dyn(%s)" (include "portlease.cel" .)) }}{{ end -}}
[{{ join ", " $items }}]
{{- else -}}
{{ toJson . }}
{{- end }}
{{- end }}
