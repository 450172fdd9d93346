{{- define "tracesteward.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "tracesteward.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "tracesteward.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where the objects of the release are. */}}
{{- define "tracesteward.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "tracesteward.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tracesteward.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of every object. The chart's own win over commonLabels, so that selectors always match. */}}
{{- define "tracesteward.labels" -}}
{{- $own := include "tracesteward.selectorLabels" . | fromYaml }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- $_ := set $own "app.kubernetes.io/version" (.Chart.AppVersion | replace "+" "_") }}
{{- $_ := set $own "app.kubernetes.io/managed-by" .Release.Service }}
{{- $_ := set $own "app.kubernetes.io/part-of" "tracesteward" }}
{{- merge $own .Values.commonLabels | toYaml }}
{{- end }}

{{- define "tracesteward.serviceAccountName" -}}
{{- default (ternary (include "tracesteward.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{/* The operator's ClusterRole. Cluster-wide names carry the namespace too, so that releases of the same name in two
namespaces do not meet. */}}
{{- define "tracesteward.clusterName" -}}
{{- $fullname := include "tracesteward.fullname" . }}
{{- $namespace := include "tracesteward.namespace" . }}
{{- ternary $fullname (printf "%s-%s" $namespace $fullname) (eq $namespace $fullname) }}
{{- end }}

{{/* "true" where the operator looks after what is cluster-wide for admission. */}}
{{- define "tracesteward.isClusterWide" -}}
{{- if not .Values.watchNamespaces }}true{{ end }}
{{- end }}

{{/* "true" where there is a webhook: its configuration is about all namespaces. */}}
{{- define "tracesteward.hasWebhook" -}}
{{- if and .Values.webhook.enabled (include "tracesteward.isClusterWide" .) }}true{{ end }}
{{- end }}

{{- define "tracesteward.webhookName" -}}
{{- printf "%s-webhook" (include "tracesteward.fullname" . | trunc 55 | trimSuffix "-") }}
{{- end }}

{{- define "tracesteward.image" -}}
{{- $image := .Values.image }}
{{- $registry := default $image.registry (.Values.global).imageRegistry }}
{{- $name := ternary (printf "%s/%s" $registry $image.repository) $image.repository (ne $registry "") }}
{{- if $image.digest }}
{{- printf "%s@%s" $name $image.digest }}
{{- else }}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{/* Secrets for pulling images: those of all charts, then this one's. */}}
{{- define "tracesteward.imagePullSecrets" -}}
{{- with concat (default (list) (.Values.global).imagePullSecrets) .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "tracesteward.metricsName" -}}
{{- printf "%s-metrics" (include "tracesteward.fullname" . | trunc 55 | trimSuffix "-") }}
{{- end }}
