{{/* Strategic merge patches, as Kustomize applies them. */}}

{{/* The key that identifies the elements of a list. Lists without one are replaced. */}}
{{- define "errata.merge-keys" -}}
containers: name
initContainers: name
env: name
volumes: name
imagePullSecrets: name
volumeMounts: mountPath
ports: port
topologySpreadConstraints: topologyKey
volumeClaimTemplates: metadata.name
triggers: type
{{- end }}

{{/* Change an object: null or `$patch: delete` removes a field. Arguments: object, patch, keys (errata.merge-keys). */}}
{{- define "errata.patch" -}}
{{- $arguments := . }}
{{- range $field, $value := .patch }}
  {{- $current := get $arguments.object $field }}
  {{- if or (kindIs "invalid" $value) (and (kindIs "map" $value) (eq "delete" (toString (get $value "$patch")))) }}
    {{- $_ := unset $arguments.object $field }}
  {{- else if kindIs "map" $value }}
    {{- $current = kindIs "map" $current | ternary $current dict }}
    {{- include "errata.patch" (dict "object" $current "patch" $value "keys" $arguments.keys) }}
    {{- $_ := set $arguments.object $field $current }}
  {{- else if and (kindIs "slice" $value) (kindIs "slice" $current) (hasKey $arguments.keys $field) }}
    {{- include "errata.patch-list" (dict "object" $arguments.object "field" $field "patch" $value "keys" $arguments.keys) }}
  {{- else if contains "\"$patch\":" (toJson $value) }}
    {{- fail (printf "patches: `$patch: delete` cannot remove an element of %s. Give the elements that stay." $field) }}
  {{- else }}
    {{- $_ := set $arguments.object $field $value }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Change a list of an object: elements of the patch come first, `$patch: delete` removes an element.
Arguments: object, field, patch, keys. */}}
{{- define "errata.patch-list" -}}
{{- $arguments := . }}
{{- $key := get .keys .field }}
{{- $rest := dict }}
{{- $order := list }}
{{- range $element := get .object .field }}
  {{- $id := include "errata.element-id" (dict "element" $element "key" $key) }}
  {{- $_ := set $rest $id $element }}
  {{- $order = append $order $id }}
{{- end }}
{{- $result := list }}
{{- range $change := .patch }}
  {{- $id := include "errata.element-id" (dict "element" $change "key" $key) }}
  {{- $element := get $rest $id | default dict }}
  {{- $_ := unset $rest $id }}
  {{- if ne (get $change "$patch") "delete" }}
    {{- include "errata.patch" (dict "object" $element "patch" $change "keys" $arguments.keys) }}
    {{- $result = append $result $element }}
  {{- end }}
{{- end }}
{{- range $id := $order }}
  {{- if hasKey $rest $id }}
    {{- $result = append $result (get $rest $id) }}
  {{- end }}
{{- end }}
{{- $_ := set .object .field $result }}
{{- end }}

{{/* Ports have a number and a protocol: a Service can have TCP and UDP on one port. */}}
{{- define "errata.element-id" -}}
{{- if eq .key "metadata.name" }}
  {{- dig "metadata" "name" "" .element }}
{{- else if eq .key "port" }}
  {{- get .element "containerPort" | default (get .element "port") }}/{{ get .element "protocol" | default "TCP" }}
{{- else }}
  {{- get .element .key }}
{{- end }}
{{- end }}

{{/* Refuse directives of a user's patch that "errata.patch" does not apply. Arguments: node, name. */}}
{{- define "errata.check-patch" -}}
{{- $arguments := . }}
{{- if kindIs "map" .node }}
  {{- $directive := get .node "$patch" }}
  {{- if and (hasKey .node "$patch") (ne "delete" (toString $directive)) }}
    {{- fail (printf "patches: %s has `$patch: %v`. The chart applies only `$patch: delete`: give the fields that change, or null." .name $directive) }}
  {{- end }}
{{- end }}
{{- if or (kindIs "map" .node) (kindIs "slice" .node) }}
  {{- range $child := .node }}
    {{- include "errata.check-patch" (dict "node" $child "name" $arguments.name) }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Rename Secrets wherever an object refers to them. Arguments: node, names (old: new). */}}
{{- define "errata.rename-secrets" -}}
{{- $arguments := . }}
{{- if kindIs "map" .node }}
  {{- $field := hasKey .node "key" | ternary "name" "secretName" }}
  {{- $new := get .names (get .node $field | toString) }}
  {{- if $new }}
    {{- $_ := set .node $field $new }}
  {{- end }}
{{- end }}
{{- if or (kindIs "map" .node) (kindIs "slice" .node) }}
  {{- range $child := .node }}
    {{- include "errata.rename-secrets" (dict "node" $child "names" $arguments.names) }}
  {{- end }}
{{- end }}
{{- end }}
