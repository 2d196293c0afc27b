{{/* The parts of deploy/kubernetes that the values select, in the order in which their patches apply. */}}
{{- define "errata.parts" -}}
- base
- {{ .Values.worker.device }}
{{- if .Values.trial }}
- trial
{{- end }}
{{- if .Values.keda.enabled }}
- keda
{{- end }}
{{- if .Values.monitoring.enabled }}
- monitoring
{{- end }}
{{- if .Values.tls.enabled }}
- tls
{{- end }}
{{- if .Values.tls.clientCertificates }}
- client-certificates
{{- end }}
{{- if .Values.archive.url }}
- object-store
{{- end }}
{{- if .Values.datasetImages.enabled }}
- images
{{- end }}
{{- if eq .Values.evidence.source "volume" }}
- evidence-volume
{{- end }}
{{- if eq .Values.evidence.source "objectStore" }}
- evidence-object-store
{{- end }}
{{- if .Values.worker.cache.persistent }}
- weights-volume
{{- end }}
{{- end }}

{{/* Kinds and objects of these parts that the values leave out. */}}
{{- define "errata.omitted" -}}
{{- if not .Values.api.autoscaling.enabled }}
- HorizontalPodAutoscaler
{{- end }}
{{- if not .Values.podDisruptionBudget.enabled }}
- PodDisruptionBudget
{{- end }}
{{- if not .Values.monitoring.rules }}
- PrometheusRule
{{- end }}
{{- if not .Values.networkPolicy.enabled }}
- NetworkPolicy
{{- end }}
{{- if not .Values.networkPolicy.publicEgress }}
- NetworkPolicy-outside
{{- end }}
{{- if not .Values.redis.bundled }}
- ServiceAccount-errata-redis
- Service-errata-redis
- ConfigMap-errata-redis
- StatefulSet-errata-redis
- NetworkPolicy-redis
- NetworkPolicy-to-redis
- NetworkPolicy-keda-to-redis
{{- end }}
{{- range $name, $claim := include "errata.claims" . | fromYaml }}
{{- if $claim.existingClaim }}
- PersistentVolumeClaim-{{ $name }}
{{- end }}
{{- end }}
- none
{{- end }}

{{/* The values of each claim, by its name. */}}
{{- define "errata.claims" -}}
errata-archive: {{ toJson .Values.archive }}
errata-evidence: {{ toJson .Values.evidence }}
errata-images: {{ toJson .Values.datasetImages }}
errata-weights: {{ toJson .Values.worker.cache }}
{{- end }}

{{/* New names of Secrets, by their names in the manifests. */}}
{{- define "errata.secrets" -}}
errata-tokens: {{ quote .Values.secrets.tokens }}
errata-redis: {{ quote .Values.secrets.redis }}
errata-registries: {{ quote .Values.secrets.registries }}
errata-worker-registries: {{ quote .Values.secrets.workerRegistries }}
errata-object-store: {{ quote .Values.secrets.objectStore }}
errata-tls: {{ quote .Values.secrets.tls }}
errata-client: {{ quote .Values.secrets.client }}
{{- end }}

{{/* The image of a container. Arguments: name (api, worker, redis), root. */}}
{{- define "errata.image" -}}
{{- $image := get .root.Values.images .name }}
{{- $suffix := and (eq .name "worker") (eq .root.Values.worker.device "gpu") | ternary "-cuda" "" }}
{{- $tag := $image.tag | default (printf "%s%s" .root.Chart.AppVersion $suffix) }}
{{- $image.repository }}{{ if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $tag }}{{ end }}
{{- end }}

{{- define "errata.labels" -}}
app.kubernetes.io/name: errata
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{/* Values of ERRATA_ and OTEL_ variables as strings; toJson writes large numbers without an exponent. */}}
{{- define "errata.settings" -}}
{{- range $name, $value := . }}
{{ $name }}: {{ kindIs "string" $value | ternary $value (toJson $value) | toString | quote }}
{{- end }}
{{- end }}

{{/* Apply a patch to one of the objects, unless the values leave it out. Arguments: objects, name, patch, keys. */}}
{{- define "errata.change" -}}
{{- if eq (get .patch "$patch") "delete" }}
  {{- $_ := unset .objects .name }}
{{- else if hasKey .objects .name }}
  {{- include "errata.patch" (dict "object" (get .objects .name) "patch" .patch "keys" .keys) }}
{{- end }}
{{- end }}

{{/* Set the images of pods and the annotation with which `helm uninstall` keeps a claim; patches of the user can change
both. Arguments: object, root. */}}
{{- define "errata.set-defaults" -}}
{{- $root := .root }}
{{- if eq .object.kind "PersistentVolumeClaim" }}
  {{- $keep := dict "helm.sh/resource-policy" "keep" }}
  {{- $_ := set .object.metadata "annotations" (merge $keep (get .object.metadata "annotations" | default dict)) }}
{{- end }}
{{- if has .object.kind (list "Deployment" "StatefulSet") }}
  {{- $pod := .object.spec.template.spec }}
  {{- range $container := concat ($pod.initContainers | default list) $pod.containers }}
    {{- $name := $container.image | splitList ":" | first | trimPrefix "errata-" }}
    {{- if hasKey $root.Values.images $name }}
      {{- $_ := set $container "image" (include "errata.image" (dict "name" $name "root" $root)) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Set the namespace, labels, and names of Secrets and claims. Arguments: objects, object, secrets, root. */}}
{{- define "errata.finish" -}}
{{- $object := .object }}
{{- $_ := set .object.metadata "namespace" .root.Release.Namespace }}
{{- $labels := merge (get .object.metadata "labels" | default dict) (include "errata.labels" .root | fromYaml) }}
{{- $_ := set .object.metadata "labels" $labels }}
{{- include "errata.rename-secrets" (dict "node" .object "names" .secrets) }}
{{- if has .object.kind (list "Deployment" "StatefulSet") }}
  {{- $template := .object.spec.template }}
  {{- $config := get .objects (printf "ConfigMap-%s" .object.metadata.name) | default dict }}
  {{- $checksum := dict "checksum/config" ($config.data | toJson | sha256sum) }}
  {{- $_ := set $template.metadata "annotations" (merge $checksum (get $template.metadata "annotations" | default dict)) }}
  {{- range $container := concat ($template.spec.initContainers | default list) ($template.spec.containers | default list) }}
    {{- if not (get $container "image") }}
      {{- fail (printf "patches: the container %v of %s-%s has no image. Set its image, or correct its name." (get $container "name") $object.kind $object.metadata.name) }}
    {{- end }}
  {{- end }}
  {{- $claims := include "errata.claims" .root | fromYaml }}
  {{- range $volume := $template.spec.volumes }}
    {{- with $volume.persistentVolumeClaim }}
      {{- $_ := set . "claimName" (dig .claimName "existingClaim" "" $claims | default .claimName) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What replaces the settings that `settings` must not have. */}}
{{- define "errata.replaced-settings" -}}
api:
  ERRATA_ARCHIVE: archive.url
  ERRATA_REGISTRIES: the Secret in secrets.registries
worker:
  ERRATA_REGISTRIES: the Secret in secrets.workerRegistries
  ERRATA_DEVICE: worker.device
  ERRATA_THREADS: worker.resources.limits.cpu
both:
  ERRATA_GRPC_ADDRESS: patches, which also change the ports of Services and probes
  ERRATA_HTTP_ADDRESS: patches, which also change the ports of Services and probes
  ERRATA_METRICS_ADDRESS: patches, which also change the ports of Services and probes
  ERRATA_WORKER_HTTP_ADDRESS: patches, which also change the ports of Services and probes
  ERRATA_DATA_DIR: patches, which also change the paths of volumes
  ERRATA_REDIS_URL: the Secret in secrets.redis
  ERRATA_TOKEN: the Secret in secrets.tokens
  ERRATA_ALLOW_INSECURE: the Secret in secrets.tokens
  OTEL_EXPORTER_OTLP_HEADERS: a variable from a Secret in patches
  OTEL_EXPORTER_OTLP_TRACES_HEADERS: a variable from a Secret in patches
{{- end }}

{{/* Refuse values that the schema cannot refuse, or cannot refuse with a remedy. */}}
{{- define "errata.check" -}}
{{- $known := .Files.Get "manifests/settings.yaml" | fromYamlArray }}
{{- $replaced := include "errata.replaced-settings" . | fromYaml }}
{{- range $component := list "api" "worker" }}
  {{- range $name, $_ := (index $.Values $component).settings }}
    {{- with coalesce (get (get $replaced $component) $name) (get $replaced.both $name) }}
      {{- fail (printf "%s.settings must not have %s. Use %s instead." $component $name .) }}
    {{- end }}
    {{- if and (hasPrefix "ERRATA_" $name) (not (has $name $known)) }}
      {{- fail (printf "%s.settings: unknown setting %s. Settings: %s" $component $name (sortAlpha $known | join ", ")) }}
    {{- end }}
  {{- end }}
{{- end }}
{{- $scaling := .Values.api.autoscaling }}
{{- $apiPods := .Values.trial | ternary 1 ($scaling.enabled | ternary $scaling.maxReplicas .Values.api.replicas) | int }}
{{- $workers := .Values.keda.enabled | ternary .Values.keda.maxReplicas (.Values.worker.replicas | default 1) | int }}
{{- $limits := "%s.minReplicas is %v, but %s.maxReplicas is %v. Set maxReplicas to at least minReplicas." }}
{{- $single := .Values.trial | ternary "ReadWriteOncePod" "ReadWriteOnce" }}{{/* all pods of a trial are on one node */}}
{{- range list
  (list "archive" (not .Values.archive.url) .Values.archive $apiPods "api")
  (list "evidence" (eq .Values.evidence.source "volume") .Values.evidence $apiPods "api")
  (list "datasetImages" .Values.datasetImages.enabled .Values.datasetImages (add $apiPods $workers) "api, worker")
  (list "worker.cache" .Values.worker.cache.persistent .Values.worker.cache $workers "worker")
}}
  {{- $name := first . }}
  {{- $mode := (index . 2).accessMode }}
  {{- $pods := index . 3 | int }}
  {{- if and (index . 1) (hasPrefix $single $mode) (gt $pods 1) }}
    {{- fail (printf "%s.accessMode is %s, but up to %v pods (%s) mount the claim. Set %s.accessMode to ReadWriteMany, and use a storage class that has it." $name $mode $pods (last .) $name) }}
  {{- end }}
{{- end }}
{{- $plain := "ingress.%s.tlsSecret is empty, so tokens would cross the network in plain text. Set it to the name of a Secret with tls.crt and tls.key." }}
{{- range list
  (list (and .Values.keda.enabled (not .Values.redis.bundled) (not .Values.redis.host))
    "redis.host is empty. KEDA needs the address of your Redis: set redis.host to HOST:PORT.")
  (list (and .Values.keda.enabled .Values.worker.replicas)
    (printf "worker.replicas is %v, but KEDA sets the number of workers. Set keda.minReplicas and keda.maxReplicas instead." .Values.worker.replicas))
  (list (and (eq .Values.evidence.source "package") .Values.evidence.dataset)
    (printf "evidence.dataset is %s, but evidence.source is package, which has only imagenet-real. Set it to volume or objectStore." .Values.evidence.dataset))
  (list (and (ne .Values.evidence.source "package") (not .Values.evidence.digest))
    "evidence.digest is empty. Set it to the digest of your bundle (errata evidence show BUNDLE).")
  (list (and (eq .Values.evidence.source "objectStore") (not .Values.evidence.url))
    "evidence.url is empty. Set it to the folder of your bundle in the object store, such as s3://bucket/imagenet.")
  (list (and .Values.tls.clientCertificates (not .Values.tls.enabled))
    "tls.clientCertificates is true, but tls.enabled is false. Set tls.enabled to true.")
  (list (and $scaling.enabled (not .Values.trial) (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)))
    (printf $limits "api.autoscaling" $scaling.minReplicas "api.autoscaling" $scaling.maxReplicas))
  (list (and .Values.keda.enabled (gt (int .Values.keda.minReplicas) (int .Values.keda.maxReplicas)))
    (printf $limits "keda" .Values.keda.minReplicas "keda" .Values.keda.maxReplicas))
  (list (and .Values.archive.url .Values.archive.existingClaim)
    (printf "archive.url is %s, but archive.existingClaim is %s. Remove the one without your analyses." .Values.archive.url .Values.archive.existingClaim))
  (list (and .Values.redis.bundled .Values.redis.host)
    (printf "redis.host is %s, but redis.bundled is true. Set redis.bundled to false, or remove redis.host." .Values.redis.host))
  (list (and .Values.redis.bundled .Values.redis.tls)
    "redis.tls is true, but the bundled Redis has no TLS. Set redis.bundled to false, or redis.tls to false.")
  (list (and (not .Values.redis.bundled) .Values.networkPolicy.enabled (not .Values.networkPolicy.extraEgress))
    "networkPolicy.extraEgress is empty, but redis.bundled is false. Add a rule for the address and port of your Redis, or set networkPolicy.enabled to false.")
  (list (and .Values.ingress.http.enabled (not .Values.ingress.http.tlsSecret) (not .Values.trial)) (printf $plain "http"))
  (list (and .Values.ingress.grpc.enabled (not .Values.ingress.grpc.tlsSecret) (not .Values.trial)) (printf $plain "grpc"))
}}
  {{- if first . }}
    {{- fail (last .) }}
  {{- end }}
{{- end }}
{{- end }}
