/// What a pod is given to speak to its API server.
enum InClusterAccess {
    /// Reads everything anew: the kubelet rotates the token (and sometimes the authority) in place.
    static func load(directory: String, environment: [String: String]) throws(AccessError) -> ServerAccess {
        guard let host = environment["KUBERNETES_SERVICE_HOST"], !host.isEmpty else {
            throw AccessError(
                "in-cluster", "KUBERNETES_SERVICE_HOST is not set: this is not a pod",
                remedy: "run in a pod, or set source.kubernetes.kubeconfig to a file")
        }
        let port = environment["KUBERNETES_SERVICE_PORT"] ?? "443"
        guard let server = ServerAddress("https://\(host.contains(":") ? "[\(host)]" : host):\(port)") else {
            throw AccessError(
                "in-cluster", "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT (\(host), \(port)) are no address",
                remedy: "correct the environment, or set source.kubernetes.kubeconfig to a file")
        }
        let tokenPath = "\(directory)/token"
        let token = try CredentialFiles.token(try CredentialFiles.read(tokenPath, "service account's token"), from: tokenPath)
        let authorityPath = "\(directory)/ca.crt"
        let authority = try CredentialFiles.read(authorityPath, "certificate authority")
        // Optional: only says where a pool without a namespace would be looked for.
        let namespace = (try? CredentialFiles.read("\(directory)/namespace", "namespace")).map {
            String(decoding: $0, as: UTF8.self).trimmed
        }
        return ServerAccess(
            server: server, trust: .authorities(authority, place: authorityPath), authorization: .bearer(token),
            identity: "the service account whose token is \(tokenPath)", namespace: namespace)
    }
}

extension String {
    /// Without white space around it.
    var trimmed: String {
        guard let first = firstIndex(where: { !$0.isWhitespace }), let last = lastIndex(where: { !$0.isWhitespace }) else { return "" }
        return String(self[first...last])
    }
}
