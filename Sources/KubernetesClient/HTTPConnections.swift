import AsyncHTTPClient
import Logging
import NIOCore
import NIOPosix
import NIOSSL

/// The HTTP client of the credentials that are in force: replaced when what TLS needs has changed, or when a connection proved bad.
///
/// Streams of a replaced client go on; it is shut down when the last of them has ended.
actor HTTPConnections {
    /// One client, kept by whoever has a request on it; it is shut down when nobody does.
    final class Pool: Sendable {
        let client: HTTPClient
        init(_ client: HTTPClient) { self.client = client }
        // Idle connections are closed; what that reports has no reader.
        deinit { client.shutdown { _ in } }
    }

    /// What a connection is made with. A new token needs none.
    private struct Key: Hashable {
        var server: ServerAddress
        var trust: ServerAccess.Trust
        var serverName: String?
        var certificate: ServerAccess.ClientCertificate?
    }

    private let group: any EventLoopGroup
    private var current: (key: Key, pool: Pool)?

    static let connectTimeout = TimeAmount.seconds(10)

    init(group: any EventLoopGroup) { self.group = group }

    /// The client to use for one request.
    func acquire(_ access: ServerAccess) throws(AccessError) -> Pool {
        let key = Key(server: access.server, trust: access.trust, serverName: access.serverName, certificate: access.certificate)
        if let current, current.key == key { return current.pool }
        let pool = Pool(try Self.client(access, group: group))
        current = (key, pool)
        return pool
    }

    /// A request on it did not come to its end: an HTTP/2 connection that swallowed one would swallow the next too, so nobody begins
    /// another there.
    func retire(_ pool: Pool) {
        if current?.pool === pool { current = nil }
    }

    /// No request may use the current client any more.
    func retire() { current = nil }

    // MARK: Making one

    private static func client(_ access: ServerAccess, group: any EventLoopGroup) throws(AccessError) -> HTTPClient {
        var configuration = HTTPClient.Configuration(
            tlsConfiguration: try tls(access), redirectConfiguration: .disallow, timeout: .init(connect: connectTimeout, read: nil),
            decompression: .disabled)
        configuration.httpVersion = .automatic
        // The reflector has its own back-off and wants to know why.
        configuration.connectionPool.retryConnectionEstablishment = false
        if let name = access.serverName { configuration.dnsOverride = [name: access.server.host] }
        return HTTPClient(eventLoopGroupProvider: .shared(group), configuration: configuration)
    }

    static func tls(_ access: ServerAccess) throws(AccessError) -> TLSConfiguration {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv12
        switch access.trust {
        case .system: break
        case .anybody: tls.certificateVerification = .none
        case .authorities(let pem, let place):
            tls.trustRoots = .certificates(try certificates(pem, "certificate authority", place))
        }
        if let certificate = access.certificate {
            tls.certificateChain = try certificates(certificate.chain, "client certificate", certificate.place).map { .certificate($0) }
            do { tls.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: certificate.key.exposed, format: .pem)) } catch {
                throw AccessError(
                    certificate.place, "the key of the client certificate is no PEM private key without a passphrase",
                    remedy: "write it anew as PEM, unencrypted")
            }
        }
        return tls
    }

    private static func certificates(_ pem: [UInt8], _ what: String, _ place: String) throws(AccessError) -> [NIOSSLCertificate] {
        let certificates = try? NIOSSLCertificate.fromPEMBytes(pem)
        guard let certificates, !certificates.isEmpty else {
            throw AccessError(place, "the \(what) holds no PEM certificate", remedy: "write one that begins with -----BEGIN CERTIFICATE-----")
        }
        return certificates
    }
}

extension ServerAccess {
    /// The URL of a target on this server. With `tls-server-name` its host is that name, which the client connects to the real one.
    func url(_ target: String) -> String {
        var address = server
        if let serverName { address.host = serverName }
        return address.description + target
    }
}
