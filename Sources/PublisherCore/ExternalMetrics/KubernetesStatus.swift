/// A failure as Kubernetes' API servers tell it: an object of kind `Status`.
struct KubernetesStatus: Hashable, Sendable {
    enum Reason: Hashable, Sendable {
        case badRequest, unauthorized, forbidden, notFound, methodNotAllowed, notAcceptable, serviceUnavailable

        var code: Int {
            switch self {
            case .badRequest: 400
            case .unauthorized: 401
            case .forbidden: 403
            case .notFound: 404
            case .methodNotAllowed: 405
            case .notAcceptable: 406
            case .serviceUnavailable: 503
            }
        }

        /// One of apimachinery's `metav1.StatusReason`.
        var name: String {
            switch self {
            case .badRequest: "BadRequest"
            case .unauthorized: "Unauthorized"
            case .forbidden: "Forbidden"
            case .notFound: "NotFound"
            case .methodNotAllowed: "MethodNotAllowed"
            case .notAcceptable: "NotAcceptable"
            case .serviceUnavailable: "ServiceUnavailable"
            }
        }
    }

    var reason: Reason
    var message: String
    /// The metric that was asked for.
    var metric: String?

    var json: [UInt8] {
        var text = JSONText()
        text.object {
            $0.value("kind", "Status")
            $0.value("apiVersion", "v1")
            $0.object("metadata") { _ in }
            $0.value("status", "Failure")
            $0.value("message", message)
            $0.value("reason", reason.name)
            if let metric {
                $0.object("details") {
                    $0.value("name", metric)
                    $0.value("group", ExternalMetricsAPI.group)
                }
            }
            $0.value("code", reason.code)
        }
        return text.bytes
    }
}
