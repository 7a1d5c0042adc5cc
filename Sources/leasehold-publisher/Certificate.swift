import Logging
import NIOCore
import NIOSSL
import ServiceKit

/// A certificate with its key, for a door: read again when one of the files changes.
final class Certificate: Sendable {
    /// The files hold no certificate, or no key that belongs to it.
    struct Unusable: Error, CustomStringConvertible {
        var description: String
    }

    private let context: FileBacked<NIOSSLContext>
    private let asksForCertificates: Bool

    /// `key` is the configuration's. With `asksForCertificates` a client may present one: any, and it is not looked at here. Kubernetes'
    /// servers do so, too: who presents a bad one, or none, gets an answer that says so, and not a broken handshake.
    init(_ configuration: CertificateConfiguration, key: String, asksForCertificates: Bool = false, logger: Logger) throws {
        self.asksForCertificates = asksForCertificates
        context = try FileBacked(key, files: [configuration.certificate, configuration.key], logger: logger) {
            try Self.load(configuration, asksForCertificates)
        }
    }

    /// For one connection.
    func handler() -> NIOSSLServerHandler {
        guard asksForCertificates else { return NIOSSLServerHandler(context: context.current) }
        return NIOSSLServerHandler(context: context.current, customVerificationCallbackWithMetadata: Self.keep)
    }

    /// What the client presented at the handshake, the leaf first; of a resumed session only the leaf. Not verified.
    static func presented(on channel: any Channel) async -> [NIOSSLCertificate] {
        do {
            if let chain = try await channel.nioSSL_peerValidatedCertificateChain().get() { return Array(chain) }
            return try await channel.nioSSL_peerCertificate().get().map { [$0] } ?? []
        } catch {
            return []  // the connection has just ended, or was never TLS
        }
    }

    /// Where SwiftNIO has a place for a verified chain we keep the one that was presented: it is verified for each request (see ``FrontProxy``),
    /// because a certificate can expire, and its authority can change, while a connection lasts.
    private static func keep(_ presented: [NIOSSLCertificate], _ promise: EventLoopPromise<NIOSSLVerificationResultWithMetadata>) {
        promise.succeed(.certificateVerified(VerificationMetadata(presented.isEmpty ? nil : ValidatedCertificateChain(presented))))
    }

    private static func load(_ configuration: CertificateConfiguration, _ asksForCertificates: Bool) throws -> NIOSSLContext {
        let chain = try NIOSSLCertificate.fromPEMFile(configuration.certificate).map { NIOSSLCertificateSource.certificate($0) }
        let key = try NIOSSLPrivateKey(file: configuration.key, format: .pem)
        var tls = TLSConfiguration.makeServerConfiguration(certificateChain: chain, privateKey: .privateKey(key))
        tls.minimumTLSVersion = .tlsv12
        tls.applicationProtocols = ["http/1.1"]
        if asksForCertificates {
            tls.certificateVerification = .optionalVerification
            // Nothing is trusted by the library: our callback is asked instead.
            tls.trustRoots = .certificates([])
        }
        return try NIOSSLContext(configuration: tls)
    }
}
