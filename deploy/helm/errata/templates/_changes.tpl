{{/* The changes that the values make to objects, as patches by the object's name. Null would remove a field, so a field without
changes is an empty map. */}}
{{- define "errata.changes" -}}
Deployment-errata-api:
  spec:
    {{- if and (not .Values.api.autoscaling.enabled) (not .Values.trial) }}
    replicas: {{ .Values.api.replicas }}
    {{- end }}
    {{- $archive := not .Values.archive.url | ternary .Values.archive.accessMode "" }}
    {{- $evidence := eq .Values.evidence.source "volume" | ternary .Values.evidence.accessMode "" }}
    {{- if and (or (hasPrefix "ReadWriteOnce" $archive) (hasPrefix "ReadWriteOnce" $evidence)) (not .Values.trial) }}
    strategy: {rollingUpdate: {maxUnavailable: 1, maxSurge: 0}} # the new pod cannot mount the claim while the old one has it
    {{- end }}
    template:
      {{- include "errata.pod-changes" (dict "root" . "name" "api" "values" .Values.api) | nindent 6 }}
HorizontalPodAutoscaler-errata-api:
  spec:
    minReplicas: {{ .Values.api.autoscaling.minReplicas }}
    maxReplicas: {{ .Values.api.autoscaling.maxReplicas }}
    metrics:
      - type: Resource
        resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ .Values.api.autoscaling.targetCPU }}}}
ServiceAccount-errata-api:
  metadata:
    annotations: {{ toJson .Values.api.serviceAccountAnnotations }}
ConfigMap-errata-api:
  data: {{ include "errata.api-settings" . | fromYaml | toJson }}
Deployment-errata-worker:
  spec:
    {{- with .Values.worker.replicas }}
    replicas: {{ . }}
    {{- end }}
    template:
      {{- include "errata.pod-changes" (dict "root" . "name" "worker" "values" .Values.worker) | nindent 6 }}
ConfigMap-errata-worker:
  data: {{ include "errata.settings" .Values.worker.settings | fromYaml | toJson }}
StatefulSet-errata-redis:
  spec:
    template:
      {{- include "errata.pod-changes" (dict "root" . "name" "redis" "values" .Values.redis) | nindent 6 }}
    volumeClaimTemplates:
      - metadata: {name: data}
        spec: {{ include "errata.claim-changes" .Values.redis | fromYaml | toJson }}
{{- range $name, $claim := include "errata.claims" . | fromYaml }}
{{- $mode := $claim.accessMode | default ($.Values.trial | ternary "ReadWriteOnce" "") }}
PersistentVolumeClaim-{{ $name }}:
  spec: {{ include "errata.claim-changes" (set $claim "accessMode" $mode) | fromYaml | toJson }}
{{- end }}
ScaledObject-errata-worker:
  spec:
    minReplicaCount: {{ .Values.keda.minReplicas }}
    maxReplicaCount: {{ .Values.keda.maxReplicas }}
    triggers:
      - type: redis
        metadata:
          address: {{ .Values.redis.bundled | ternary (printf "errata-redis.%s.svc:6379" .Release.Namespace) .Values.redis.host }}
          {{- if .Values.redis.tls }}
          enableTLS: "true"
          {{- end }}
NetworkPolicy-keda-to-redis:
  spec:
    ingress:
      - from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ quote .Values.keda.namespace }}}}}]
        ports: [{port: 6379, protocol: TCP}]
{{- range $component, $port := dict "api" 9464 "worker" 8081 }}
NetworkPolicy-prometheus-to-{{ $component }}:
  spec:
    ingress:
      - from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ quote $.Values.monitoring.namespace }}}}}]
        ports: [{port: {{ $port }}, protocol: TCP}]
ServiceMonitor-errata-{{ $component }}:
  metadata:
    labels: {{ toJson $.Values.monitoring.labels }}
{{- end }}
PrometheusRule-errata:
  metadata:
    labels: {{ toJson .Values.monitoring.labels }}
{{- end }}

{{/* Changes of a pod template. Arguments: root, name (of the component and container), values. The checksum restarts
pods when their settings change. The kubelet kills a pod ten seconds after ERRATA_GRACE_SECONDS; preStop of the API takes five more. */}}
{{- define "errata.pod-changes" -}}
metadata:
  annotations: {{ toJson (.values.podAnnotations | default dict) }}
spec:
  {{- if hasKey (.values.settings | default dict) "ERRATA_GRACE_SECONDS" }}
  terminationGracePeriodSeconds: {{ add (.values.settings.ERRATA_GRACE_SECONDS | float64 | ceil) (eq .name "api" | ternary 15 10) }}
  {{- end }}
  {{- with .root.Values.images.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ quote . }}
    {{- end }}
  {{- end }}
  {{- range $field := list "nodeSelector" "tolerations" "runtimeClassName" }}
  {{- with get $.values $field }}
  {{ $field }}: {{ toJson . }}
  {{- end }}
  {{- end }}
  containers:
    - name: {{ .name }}
      resources: {{ toJson .values.resources }}
{{- end }}

{{/* Changes of the spec of a claim. Argument: its values. */}}
{{- define "errata.claim-changes" -}}
{{- with .storageClass }}
storageClassName: {{ quote . }}
{{- end }}
{{- with .accessMode }}
accessModes: [{{ . }}]
{{- end }}
{{- with .size }}
resources: {requests: {storage: {{ quote . }}}}
{{- end }}
{{- end }}

{{/* Settings of the API that come from values. */}}
{{- define "errata.api-settings" -}}
{{- with .Values.archive.url }}
ERRATA_ARCHIVE: {{ quote . }}
{{- end }}
{{- with .Values.evidence.dataset }}
EVIDENCE_DATASET: {{ quote . }}
ERRATA_EVIDENCE: {{ dict . (printf "/evidence/%s" .) | toJson | quote }}
{{- end }}
{{- with .Values.evidence.digest }}
EVIDENCE_DIGEST: {{ quote . }}
{{- end }}
{{- with .Values.evidence.url }}
EVIDENCE_URL: {{ quote . }}
{{- end }}
{{- include "errata.settings" .Values.api.settings }}
{{- end }}
