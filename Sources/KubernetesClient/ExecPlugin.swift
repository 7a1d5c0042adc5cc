import Foundation

/// A program that gives credentials: `exec` of a kubeconfig's user.
///
/// Source: client.authentication.k8s.io/v1 (and v1beta1), ExecCredential.
struct ExecPlugin: Hashable, Sendable {
    /// An absolute path, or a name for PATH.
    var command: String
    var arguments: [String]
    /// Beyond our own environment.
    var environment: [String: String]
    var version: String
    /// Where it was named, for messages.
    var place: String
    var installHint: String?
    /// KUBERNETES_EXEC_INFO.
    var info: String

    static let versions = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"]

    init(_ section: YAMLSection, relativeTo directory: String, cluster: ServerAccess?) throws(AccessError) {
        guard let command = try section.text("command") else {
            throw AccessError(section.place, "exec has no command", remedy: "add command: PROGRAM")
        }
        guard let version = try section.text("apiVersion") else {
            throw AccessError(section.place, "exec has no apiVersion", remedy: "add apiVersion: \(Self.versions[0])")
        }
        guard Self.versions.contains(version) else {
            throw AccessError(
                section.place(of: "apiVersion"), "exec speaks \(version), which is not supported", remedy: "update the plug-in to \(Self.versions[0])")
        }
        if try section.text("interactiveMode") == "Always" {
            throw AccessError(
                section.place(of: "interactiveMode"), "the plug-in needs a person at a terminal",
                remedy: "use credentials that work without one: interactiveMode: Never or IfAvailable")
        }
        // A name is looked for in PATH, a path starts at the kubeconfig's directory.
        self.command = command.contains("/") && !command.hasPrefix("/") ? "\(directory)/\(command)" : command
        self.version = version
        arguments = try section.texts("args")
        environment = [:]
        for entry in try section.sections("env") {
            if let name = try entry.text("name") { environment[name] = try entry.text("value") ?? "" }
        }
        installHint = try section.text("installHint")
        place = section.place
        info = Self.info(version, cluster)
    }

    private struct Info: Encodable {
        var apiVersion: String
        var kind = "ExecCredential"
        var spec: Spec

        struct Spec: Encodable {
            var interactive = false
            var cluster: Cluster?
        }

        struct Cluster: Encodable {
            var server: String
            var tlsServerName: String?
            var insecureSkipTlsVerify: Bool?
            var certificateAuthorityData: Data?

            enum CodingKeys: String, CodingKey {
                case server
                case tlsServerName = "tls-server-name"
                case insecureSkipTlsVerify = "insecure-skip-tls-verify"
                case certificateAuthorityData = "certificate-authority-data"
            }
        }
    }

    private static func info(_ version: String, _ access: ServerAccess?) -> String {
        var info = Info(apiVersion: version, spec: .init())
        if let access {
            var cluster = Info.Cluster(server: access.server.description, tlsServerName: access.serverName)
            switch access.trust {
            case .system: break
            case .anybody: cluster.insecureSkipTlsVerify = true
            case .authorities(let pem, _): cluster.certificateAuthorityData = Data(pem)
            }
            info.spec.cluster = cluster
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Texts and flags always encode.
        return (try? encoder.encode(info)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}

/// What a plug-in answered.
struct ExecCredential: Sendable {
    var token: Secret?
    var certificate: ServerAccess.ClientCertificate?
    /// The wall clock's time at which it stops to be valid; nil is never.
    var expires: Date?

    private struct Answer: Decodable {
        var apiVersion: String?
        var kind: String?
        var status: Status?

        struct Status: Decodable {
            var token: String?
            var clientCertificateData: String?
            var clientKeyData: String?
            var expirationTimestamp: String?
        }
    }

    /// Reads the plug-in's output, of which nothing is ever repeated in a message.
    init(_ output: [UInt8], from plugin: ExecPlugin) throws(AccessError) {
        let name = (plugin.command as NSString).lastPathComponent
        let answer: Answer
        do { answer = try JSONDecoder().decode(Answer.self, from: Data(output)) } catch {
            throw AccessError(plugin.place, "\(name) answered no ExecCredential in JSON", remedy: "run it by hand and look at what it prints")
        }
        guard answer.kind == "ExecCredential", answer.apiVersion == plugin.version else {
            throw AccessError(
                plugin.place, "\(name) answered \(answer.apiVersion ?? "no version") instead of \(plugin.version)",
                remedy: "make apiVersion the one that the plug-in speaks")
        }
        guard let status = answer.status else {
            throw AccessError(plugin.place, "\(name) answered without a status", remedy: "run it by hand and look at what it prints")
        }
        if let text = status.token, !text.isEmpty {
            token = try CredentialFiles.token(Array(text.utf8), from: "\(plugin.place) (\(name))")
        }
        switch (status.clientCertificateData, status.clientKeyData) {
        case (let chain?, let key?):
            certificate = .init(chain: Array(chain.utf8), key: Secret(key.utf8), place: "\(plugin.place) (\(name))")
        case (nil, nil): certificate = nil
        case (.some, nil), (nil, .some):
            throw AccessError(plugin.place, "\(name) answered a certificate or a key alone", remedy: "it has to give both")
        }
        guard token != nil || certificate != nil else {
            throw AccessError(plugin.place, "\(name) answered no credential", remedy: "log in with it, and try again")
        }
        if let text = status.expirationTimestamp {
            guard let date = Self.date(text) else {
                throw AccessError(plugin.place, "\(name) answered an expirationTimestamp that is no time", remedy: "update the plug-in")
            }
            expires = date
        }
    }

    /// RFC 3339, with or without parts of a second.
    private static func date(_ text: String) -> Date? {
        let formatter = ISO8601DateFormatter()
        if let date = formatter.date(from: text) { return date }
        formatter.formatOptions.insert(.withFractionalSeconds)
        return formatter.date(from: text)
    }
}
