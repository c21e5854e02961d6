{{- define "auditflow.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* 52 characters at most: the names of a StatefulSet's pods and revisions add to it. */}}
{{- define "auditflow.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "auditflow.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "auditflow.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "auditflow.selectorLabels" -}}
app.kubernetes.io/name: {{ include "auditflow.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "auditflow.metadata" -}}
name: {{ include "auditflow.fullname" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "auditflow.labels" . | nindent 2 }}
{{- end }}

{{- define "auditflow.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "auditflow.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "auditflow.pipelineName" -}}
{{- default (include "auditflow.fullname" .) .Values.pipelineName }}
{{- end }}

{{- define "auditflow.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "auditflow.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}
