// Discovery and OpenAPI, as kubectl, the aggregator and client libraries read them.

extension ExternalMetricsAPI {
    /// What is the same whoever asks; nil for other paths.
    func document(_ path: [String], _ publication: Publication) -> Answer? {
        switch path {
        case []: Answer(body: Self.pathsDocument)
        case ["apis"]: Answer(body: Self.groupListDocument)
        case ["apis", Self.group]: Answer(body: Self.groupDocument)
        case ["apis", Self.group, Self.version]: Answer(body: Self.resourcesDocument)
        case ["openapi", "v2"]: Answer(body: Self.swagger(publication.version))
        case ["openapi", "v3"]: Answer(body: Self.openAPIRoot(publication.version))
        case ["openapi", "v3", "apis", Self.group, Self.version]: Answer(body: Self.openAPI(publication.version))
        default: nil
        }
    }

    private static var base: String { "/apis/\(groupVersion)" }

    private static var pathsDocument: [UInt8] {
        var text = JSONText()
        text.object {
            $0.array("paths") { paths in
                for path in ["/apis", "/apis/\(group)", base, "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"] {
                    paths.value(nil, path)
                }
            }
        }
        return text.bytes
    }

    // MARK: Discovery

    private static func versionMembers(_ text: inout JSONText) {
        text.value("groupVersion", groupVersion)
        text.value("version", version)
    }

    private static func groupMembers(_ text: inout JSONText) {
        text.value("name", group)
        text.array("versions") { $0.object(nil, versionMembers) }
        text.object("preferredVersion", versionMembers)
    }

    private static var groupListDocument: [UInt8] {
        var text = JSONText()
        text.object {
            $0.value("kind", "APIGroupList")
            $0.value("apiVersion", "v1")
            $0.array("groups") { $0.object(nil, groupMembers) }
        }
        return text.bytes
    }

    private static var groupDocument: [UInt8] {
        var text = JSONText()
        text.object {
            $0.value("kind", "APIGroup")
            $0.value("apiVersion", "v1")
            groupMembers(&$0)
        }
        return text.bytes
    }

    private static var resourcesDocument: [UInt8] {
        var text = JSONText()
        text.object {
            $0.value("kind", "APIResourceList")
            $0.value("apiVersion", "v1")
            $0.value("groupVersion", groupVersion)
            $0.array("resources") { resources in
                for metric in ExternalMetric.allCases {
                    resources.object {
                        $0.value("name", metric.rawValue)
                        $0.value("singularName", "")
                        $0.value("namespaced", true)
                        $0.value("kind", "ExternalMetricValueList")
                        $0.array("verbs") { $0.value(nil, "get") }
                    }
                }
            }
        }
        return text.bytes
    }

    /// Kubernetes' `version.Info`; what it says of Go is not ours to say.
    static func versionDocument(_ version: String) -> [UInt8] {
        let parts = version.split(separator: ".")
        var text = JSONText()
        text.object {
            $0.value("major", parts.first.map { String($0) } ?? "")
            $0.value("minor", parts.count > 1 ? String(parts[1]) : "")
            $0.value("gitVersion", "v\(version)+leasehold")
            for name in ["gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"] { $0.value(name, "") }
        }
        return text.bytes
    }

    // MARK: OpenAPI

    /// Of our own, so that an aggregator that merges documents finds nothing that it knows under another meaning.
    private static let listSchema = "io.leasehold.external_metrics.v1beta1.ExternalMetricValueList"
    private static let valueSchema = "io.leasehold.external_metrics.v1beta1.ExternalMetricValue"

    private static func swagger(_ version: String) -> [UInt8] {
        var text = JSONText()
        text.object {
            $0.value("swagger", "2.0")
            info(&$0, version)
            $0.object("paths") { paths in
                for metric in ExternalMetric.allCases {
                    operation(metric, &paths) {
                        $0.array("produces") { $0.value(nil, "application/json") }
                        $0.array("parameters") {
                            namespaceParameter(&$0) { $0.value("type", "string") }
                            selectorParameter(&$0) { $0.value("type", "string") }
                        }
                        $0.object("responses") {
                            $0.object("200") {
                                $0.value("description", "OK")
                                $0.object("schema") { $0.value("$ref", "#/definitions/\(listSchema)") }
                            }
                        }
                    }
                }
            }
            $0.object("definitions") { schemas(&$0, "#/definitions/") }
        }
        return text.bytes
    }

    private static func openAPIRoot(_ version: String) -> [UInt8] {
        var text = JSONText()
        text.object {
            $0.object("paths") {
                $0.object("apis/\(groupVersion)") {
                    $0.value("serverRelativeURL", "/openapi/v3/apis/\(groupVersion)?hash=\(hash(openAPI(version)))")
                }
            }
        }
        return text.bytes
    }

    private static func openAPI(_ version: String) -> [UInt8] {
        var text = JSONText()
        text.object {
            $0.value("openapi", "3.0.0")
            info(&$0, version)
            $0.object("paths") { paths in
                for metric in ExternalMetric.allCases {
                    operation(metric, &paths) {
                        $0.array("parameters") {
                            namespaceParameter(&$0) { $0.object("schema") { $0.value("type", "string") } }
                            selectorParameter(&$0) { $0.object("schema") { $0.value("type", "string") } }
                        }
                        $0.object("responses") {
                            $0.object("200") {
                                $0.value("description", "OK")
                                $0.object("content") {
                                    $0.object("application/json") {
                                        $0.object("schema") { $0.value("$ref", "#/components/schemas/\(listSchema)") }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            $0.object("components") { $0.object("schemas") { schemas(&$0, "#/components/schemas/") } }
        }
        return text.bytes
    }

    private static func info(_ text: inout JSONText, _ version: String) {
        text.object("info") {
            $0.value("title", "Leasehold: external metrics")
            $0.value("version", "v\(version)")
        }
    }

    private static func operation(_ metric: ExternalMetric, _ paths: inout JSONText, _ rest: (inout JSONText) -> Void) {
        paths.object("\(base)/namespaces/{namespace}/\(metric.rawValue)") {
            $0.object("get") {
                $0.value("description", metric.help)
                $0.value("operationId", "listExternalMetricsV1beta1Namespaced_\(metric.rawValue)")
                $0.array("tags") { $0.value(nil, "externalMetrics_v1beta1") }
                $0.value("x-kubernetes-action", "list")
                $0.object("x-kubernetes-group-version-kind", kindMembers)
                rest(&$0)
            }
        }
    }

    private static func kindMembers(_ text: inout JSONText) {
        text.value("group", group)
        text.value("kind", "ExternalMetricValueList")
        text.value("version", version)
    }

    private static func namespaceParameter(_ text: inout JSONText, _ type: (inout JSONText) -> Void) {
        text.object {
            $0.value("name", "namespace")
            $0.value("in", "path")
            $0.value("required", true)
            $0.value("description", "The namespace of the pool's Service.")
            type(&$0)
        }
    }

    private static func selectorParameter(_ text: inout JSONText, _ type: (inout JSONText) -> Void) {
        text.object {
            $0.value("name", "labelSelector")
            $0.value("in", "query")
            $0.value("description", "Which pools; the label is pool.")
            type(&$0)
        }
    }

    private static func schemas(_ text: inout JSONText, _ prefix: String) {
        func property(_ name: String, _ type: String, _ format: String? = nil, _ text: inout JSONText) {
            text.object(name) {
                $0.value("type", type)
                if let format { $0.value("format", format) }
            }
        }
        text.object(listSchema) {
            $0.value("description", "The values of one metric, one for each pool.")
            $0.value("type", "object")
            $0.array("required") { $0.value(nil, "items") }
            $0.object("properties") {
                property("apiVersion", "string", nil, &$0)
                property("kind", "string", nil, &$0)
                property("metadata", "object", nil, &$0)
                $0.object("items") {
                    $0.value("type", "array")
                    $0.object("items") { $0.value("$ref", prefix + valueSchema) }
                }
            }
            $0.array("x-kubernetes-group-version-kind") { $0.object(nil, kindMembers) }
        }
        text.object(valueSchema) {
            $0.value("description", "One pool's value, and when it was true.")
            $0.value("type", "object")
            $0.array("required") { for name in ["metricName", "metricLabels", "timestamp", "value"] { $0.value(nil, name) } }
            $0.object("properties") {
                property("metricName", "string", nil, &$0)
                $0.object("metricLabels") {
                    $0.value("type", "object")
                    $0.object("additionalProperties") { $0.value("type", "string") }
                }
                property("timestamp", "string", "date-time", &$0)
                property("window", "integer", "int64", &$0)
                property("value", "string", nil, &$0)
            }
        }
    }
}
