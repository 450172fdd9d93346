{{/* What the operator may do in each namespace that it looks at. */}}
{{- define "tracesteward.rules" -}}
- apiGroups: [tracesteward.io]
  resources: [tracingpolicies, tracingcollectors]
  verbs: [list, watch]
- apiGroups: [tracesteward.io]
  resources: [tracingpolicies/status, tracingcollectors/status]
  verbs: [patch]
# Server-side apply to what exists already needs patch alone. Nothing can be made by mistake.
- apiGroups: [apps]
  resources: [daemonsets]
  verbs: [get, list, watch, patch]
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [list, watch, patch]
# Workloads of users are patched. What runs a TracingCollector is made, and deleted with it.
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps, services, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
# Which settings pods were created with (their metadata is watched), and why those of a collector do not become ready.
# A StatefulSet never replaces a pod that cannot run, also where its template was taken back: that pod is deleted.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, delete]
# Whose a pod is. Jobs are never written: their template is immutable.
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list, watch]
# Whether an injection has broken a workload: the templates before it, and why pods are not created.
- apiGroups: [apps]
  resources: [controllerrevisions]
  verbs: [list]
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.rbac.secrets.verify }}
- apiGroups: [""]
  resources: [secrets]
  {{- with .Values.rbac.secrets.names }}
  resourceNames:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  verbs: [get]
{{- end }}
{{- end }}

{{/* What is of the whole cluster. */}}
{{- define "tracesteward.wideRules" -}}
- apiGroups: [tracesteward.io]
  resources: [clustertracingpolicies]
  verbs: [list, watch]
- apiGroups: [tracesteward.io]
  resources: [clustertracingpolicies/status]
  verbs: [patch]
# The labels of namespaces say whose policies may use a collector.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
# The one binding of collectors with `identity: Connection` to the one role below, and no other.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [clusterrolebindings]
  resourceNames: [tracesteward-collector-identity]
  verbs: [get, create, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [clusterroles]
  resourceNames: [tracesteward-collector-identity]
  verbs: [bind]
# What admission needs: the webhook's configuration, and what lets users rename what carries the operator's variables.
# What is made by server-side apply has its name in the request, so that `create` too is for these names alone.
- apiGroups: [admissionregistration.k8s.io]
  resources: [validatingwebhookconfigurations]
  resourceNames: [tracesteward]
  verbs: [get, create, patch, delete]
- apiGroups: [admissionregistration.k8s.io]
  resources: [mutatingwebhookconfigurations]
  resourceNames: [tracesteward, tracesteward-pods]
  verbs: [get, create, patch, delete]
- apiGroups: [admissionregistration.k8s.io]
  resources: [mutatingadmissionpolicies, mutatingadmissionpolicybindings]
  resourceNames: [tracesteward-repair]
  verbs: [get, create, patch, delete]
# These go with this role.
- apiGroups: [rbac.authorization.k8s.io]
  resources: [clusterroles]
  resourceNames: [{{ include "tracesteward.clusterName" . }}]
  verbs: [get]
{{- end }}
