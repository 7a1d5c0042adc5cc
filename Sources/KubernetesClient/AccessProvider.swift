import Foundation

/// Gives what each request needs, read anew from where it comes from; only a plug-in's answer is kept until it expires.
public actor AccessProvider {
    private let source: AccessSource
    private let environment: [String: String]
    private var cached: (plugin: ExecPlugin, credential: ExecCredential)?
    /// Requests that need the same plug-in wait for one run of it.
    private var running: (plugin: ExecPlugin, task: Task<Result<ExecCredential, AccessError>, Never>)?

    /// A credential is renewed this long before it expires.
    static let margin: TimeInterval = 10

    public init(_ source: AccessSource, environment: [String: String] = ProcessInfo.processInfo.environment) {
        self.source = source
        self.environment = environment
    }

    /// What is valid now. Reads some files, and runs a plug-in when its last answer has expired.
    public func access() async throws(AccessError) -> ServerAccess {
        switch source {
        case .inCluster(let directory):
            return try InClusterAccess.load(directory: directory, environment: environment)
        case .kubeconfig(let path, let context):
            switch try Kubeconfig(file: path).credential(context: context) {
            case .fixed(let access): return access
            case .plugin(var access, let plugin):
                let credential = try await credential(of: plugin)
                let name = (plugin.command as NSString).lastPathComponent
                if let token = credential.token {
                    access.authorization = .bearer(token)
                    access.identity += ", by a token of the plug-in \(name)"
                }
                if let certificate = credential.certificate {
                    access.certificate = certificate
                    access.identity += ", by a certificate of the plug-in \(name)"
                }
                return access
            }
        }
    }

    /// The same past every cache: the server did not accept what was given last.
    public func renewed() async throws(AccessError) -> ServerAccess {
        cached = nil
        return try await access()
    }

    private func credential(of plugin: ExecPlugin) async throws(AccessError) -> ExecCredential {
        if let cached, cached.plugin == plugin, cached.credential.expires.map({ $0.timeIntervalSinceNow > Self.margin }) ?? true {
            return cached.credential
        }
        if let running, running.plugin == plugin { return try await running.task.value.get() }
        let run = PluginRun(plugin: plugin, environment: environment, timeout: PluginRun.timeout)
        let task = Task { () -> Result<ExecCredential, AccessError> in
            do throws(AccessError) { return .success(try ExecCredential(try await run.output(), from: plugin)) } catch { return .failure(error) }
        }
        running = (plugin, task)
        let result = await task.value
        running = nil
        let credential = try result.get()
        // One that is nearly over when it comes is used once: asking again at once would not make it better.
        cached = (plugin, credential)
        return credential
    }
}
