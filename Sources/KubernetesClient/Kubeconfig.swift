import Foundation

/// One context of a kubeconfig file, read whole: its cluster and its user.
///
/// Source: client-go's clientcmd (v1.Config). Relative paths start at the file's own directory; inline data wins over a file, a
/// tokenFile over a token.
struct Kubeconfig {
    let file: String
    private let root: YAMLSection

    init(file: String) throws(AccessError) {
        let bytes = try CredentialFiles.read(file, "kubeconfig")
        self.file = file
        root = try YAMLSection(String(decoding: bytes, as: UTF8.self), file: file)
    }

    /// How somebody of this context proves who they are.
    enum Credential {
        case fixed(ServerAccess)
        /// A plug-in has to be asked; its answer completes the access.
        case plugin(ServerAccess, ExecPlugin)
    }

    /// Resolves a context, or the current one.
    func credential(context wanted: String?) throws(AccessError) -> Credential {
        let (context, place) = try self.context(wanted)
        guard let clusterName = try context.text("cluster") else {
            throw AccessError(place, "the context has no cluster", remedy: "add cluster: NAME")
        }
        guard let userName = try context.text("user") else {
            throw AccessError(place, "the context has no user", remedy: "add user: NAME")
        }
        let cluster = try named(clusterName, in: "clusters", "cluster", usedAt: place)
        let user = try named(userName, in: "users", "user", usedAt: place)
        var access = try serverAccess(cluster, clusterName)
        access.namespace = try context.text("namespace")
        return try complete(&access, user, userName, cluster)
    }

    private func context(_ wanted: String?) throws(AccessError) -> (YAMLSection, String) {
        let name: String
        if let wanted {
            name = wanted
        } else if let current = try root.text("current-context") {
            name = current
        } else {
            throw AccessError(
                file, "has no current-context", remedy: "set one with kubectl config use-context, or set source.kubernetes.context")
        }
        let entry = try named(name, in: "contexts", "context", usedAt: wanted == nil ? root.place(of: "current-context") : file)
        return (entry, entry.place)
    }

    private func named(_ name: String, in list: String, _ what: String, usedAt place: String) throws(AccessError) -> YAMLSection {
        var names: [String] = []
        for entry in try root.sections(list) {
            guard let found = try entry.text("name") else { continue }
            if found == name {
                guard let section = try entry.section(what, "\(what) \(name)") else {
                    throw AccessError(entry.place, "the \(what) \(name) is empty", remedy: "complete it")
                }
                return section
            }
            names.append(found)
        }
        let known = names.isEmpty ? "there is none" : "there are: \(names.prefix(10).joined(separator: ", "))"
        throw AccessError(place, "there is no \(what) named \(name) under \(list)", remedy: "name one that exists; \(known)")
    }

    // MARK: The cluster

    private func serverAccess(_ cluster: YAMLSection, _ name: String) throws(AccessError) -> ServerAccess {
        guard let text = try cluster.text("server") else {
            throw AccessError(cluster.place, "the cluster \(name) has no server", remedy: "add server: https://HOST:PORT")
        }
        guard let server = ServerAddress(text) else {
            throw AccessError(cluster.place(of: "server"), "the server is no http or https URL", remedy: "write https://HOST:PORT")
        }
        if cluster.has("proxy-url") {
            throw AccessError(
                cluster.place(of: "proxy-url"), "proxies are not supported",
                remedy: "remove proxy-url and name an address that can be reached directly")
        }
        var warnings: [String] = []
        var trust = ServerAccess.Trust.system
        if try cluster.flag("insecure-skip-tls-verify") {
            guard !cluster.has("certificate-authority"), !cluster.has("certificate-authority-data") else {
                throw AccessError(
                    cluster.place(of: "insecure-skip-tls-verify"), "stands beside a certificate authority",
                    remedy: "remove insecure-skip-tls-verify")
            }
            trust = .anybody
            warnings.append(
                "\(cluster.place(of: "insecure-skip-tls-verify")): the server's certificate is not verified, whoever answers is believed; "
                    + "set certificate-authority instead")
        } else if let (bytes, place) = try material(cluster, "certificate-authority", "certificate authority") {
            trust = .authorities(bytes, place: place)
        }
        if !server.isSecure {
            warnings.append("\(cluster.place(of: "server")): the server is spoken to without TLS, credentials are sent in the clear")
        }
        return ServerAccess(
            server: server, trust: trust, serverName: try cluster.text("tls-server-name"), identity: "", warnings: warnings)
    }

    // MARK: The user

    private func complete(
        _ access: inout ServerAccess, _ user: YAMLSection, _ name: String, _ cluster: YAMLSection
    ) throws(AccessError) -> Credential {
        for (key, remedy) in [
            ("auth-provider", "use an exec plug-in: auth-provider is gone since Kubernetes 1.26"),
            ("as", "impersonation is not supported: use credentials of that identity"),
            ("as-groups", "impersonation is not supported: use credentials of that identity"),
        ] where user.has(key) {
            throw AccessError(user.place(of: key), "\(key) of user \(name) is not supported", remedy: remedy)
        }
        access.identity = "user \(name) of \(file)"
        let chain = try material(user, "client-certificate", "client certificate")
        let key = try material(user, "client-key", "client certificate's key")
        switch (chain, key) {
        case (let chain?, let key?):
            access.certificate = .init(chain: chain.bytes, key: Secret(key.bytes), place: chain.place)
            access.identity += ", by its client certificate"
        case (.some, nil):
            throw AccessError(user.place, "user \(name) has a client-certificate and no client-key", remedy: "add client-key")
        case (nil, .some):
            throw AccessError(user.place, "user \(name) has a client-key and no client-certificate", remedy: "add client-certificate")
        case (nil, nil): break
        }
        if let path = try user.text("tokenFile") {
            let path = absolute(path)
            let bytes = try CredentialFiles.read(path, "token", namedBy: user.place(of: "tokenFile"))
            access.authorization = .bearer(try CredentialFiles.token(bytes, from: path))
            access.identity += ", by the token in \(path)"
        } else if let token = try user.text("token") {
            let place = user.place(of: "token")
            access.authorization = .bearer(try CredentialFiles.token(Array(token.utf8), from: place))
            access.identity += ", by its token"
        } else if let name = try user.text("username") {
            let pair = Array("\(name):\(try user.text("password") ?? "")".utf8)
            access.authorization = Secret(Array("Basic \(Data(pair).base64EncodedString())".utf8))
            access.identity += ", by its password"
        }
        guard let exec = try user.section("exec", "exec of user \(name)") else {
            if access.certificate == nil, access.authorization == nil {
                access.identity += ", without any credential"
            }
            return .fixed(access)
        }
        return .plugin(access, try ExecPlugin(exec, relativeTo: directory, cluster: exec.flag("provideClusterInfo") ? access : nil))
    }

    // MARK: Files

    private var directory: String { (file as NSString).deletingLastPathComponent }

    private func absolute(_ path: String) -> String { path.hasPrefix("/") ? path : "\(directory)/\(path)" }

    /// Inline data (`KEY-data`, base64), or a file's content (`KEY`).
    private func material(_ section: YAMLSection, _ key: String, _ what: String) throws(AccessError) -> (bytes: [UInt8], place: String)? {
        if let text = try section.text("\(key)-data") {
            let place = section.place(of: "\(key)-data")
            guard let data = Data(base64Encoded: text, options: .ignoreUnknownCharacters), !data.isEmpty else {
                throw AccessError(place, "\(key)-data is not base64", remedy: "write the PEM file in base64, or name it with \(key)")
            }
            return (Array(data), place)
        }
        guard let path = try section.text(key).map(absolute) else { return nil }
        return (try CredentialFiles.read(path, what, namedBy: section.place(of: key)), path)
    }
}
