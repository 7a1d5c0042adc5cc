/// Where the address of the server and the credentials come from.
public enum AccessSource: Hashable, Sendable {
    /// What a pod is given: a directory with `token`, `ca.crt` and `namespace`, and the server in `KUBERNETES_SERVICE_HOST` and `_PORT`.
    case inCluster(directory: String)
    /// A kubeconfig file; nil is its current-context.
    case kubeconfig(path: String, context: String?)

    /// Where pods find their service account.
    public static let serviceAccountDirectory = "/var/run/secrets/kubernetes.io/serviceaccount"
}
