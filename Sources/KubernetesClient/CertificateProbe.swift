import CLinux
import Linux
import NIOCore
import NIOPosix
import NIOSSL

/// Finds out why a server's certificate does not verify: the library that refused it does not say.
enum CertificateProbe {
    /// One sentence on top of "does not verify"; nil when the certificate cannot be had. Connects once, believes nothing.
    static func reason(_ access: ServerAccess, group: any EventLoopGroup) async -> String? {
        guard let certificate = await certificate(access, group: group) else { return nil }
        let now = time(nil)
        if certificate.notValidAfter < now {
            return "it expired \(span(now - certificate.notValidAfter)) ago; renew it, or correct this machine's clock"
        }
        if certificate.notValidBefore > now {
            return "it becomes valid in \(span(certificate.notValidBefore - now)); correct this machine's clock"
        }
        switch access.trust {
        case .authorities(_, let place): return "it is not signed by an authority of \(place); put the cluster's authority there"
        case .system: return "it is not signed by one of the system's authorities; set certificate-authority to the cluster's"
        case .anybody: return nil
        }
    }

    /// For a certificate whose names are not the server's.
    static func nameReason(_ access: ServerAccess, group: any EventLoopGroup) async -> String? {
        guard let certificate = await certificate(access, group: group) else { return nil }
        let names = (certificate._subjectAlternativeNames().map { name -> String in
            switch name.nameType {
            case .dnsName: return String(decoding: name.contents, as: UTF8.self)
            case .ipAddress: return address(Array(name.contents)) ?? "?"
            default: return "?"  // open: the library's, and no enum
            }
        }).filter { $0 != "?" }
        let wanted = access.serverName ?? access.server.host
        let list = names.isEmpty ? "no name at all" : names.prefix(8).joined(separator: ", ")
        return "it is for \(list), not for \(wanted); use one of these as server, or as tls-server-name"
    }

    private static func span(_ seconds: Int) -> String {
        if seconds >= 2 * 86_400 { return "\(seconds / 86_400) days" }
        if seconds >= 2 * 3_600 { return "\(seconds / 3_600) hours" }
        return "\(max(1, seconds / 60)) minutes"
    }

    private static func address(_ bytes: [UInt8]) -> String? {
        try? NIOCore.SocketAddress(packedIPAddress: ByteBuffer(bytes: bytes), port: 0).ipAddress
    }

    private static func certificate(_ access: ServerAccess, group: any EventLoopGroup) async -> NIOSSLCertificate? {
        guard access.server.isSecure, let tls = try? HTTPConnections.tls(access) else { return nil }
        let found = group.any().makePromise(of: NIOSSLCertificate?.self)
        let name = access.serverName ?? access.server.host
        let bootstrap = ClientBootstrap(group: group)
            .connectTimeout(.seconds(5))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let context = try NIOSSLContext(configuration: tls)
                    let isAddress = (try? NIOCore.SocketAddress(ipAddress: name, port: 0)) != nil
                    let handler = try NIOSSLClientHandler(
                        context: context, serverHostname: isAddress ? nil : name,
                        customVerificationCallback: { chain, verdict in
                            found.succeed(chain.first)
                            // It was only looked at: nothing is sent to this server.
                            verdict.succeed(.failed)
                        })
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
        do {
            let channel = try await bootstrap.connect(host: access.server.host, port: access.server.port).get()
            channel.eventLoop.scheduleTask(in: .seconds(5)) { channel.close(promise: nil) }
            // Whatever happened first has counted; this is for a connection that ended before any certificate came.
            channel.closeFuture.whenComplete { _ in found.succeed(nil) }
        } catch {
            found.succeed(nil)
        }
        return try? await found.futureResult.get()
    }
}
