import Linux
import Logging
import NIOSSL
import ServiceKit
import Synchronization
import Systemd

/// A certificate with its key, read again when one of the files changes: what cannot be read then leaves the old one in force.
final class Certificate: Sendable {
    /// The files hold no certificate and key that belong together.
    struct Unusable: Error, CustomStringConvertible {
        var description: String
    }

    private let configuration: CertificateConfiguration
    private let logger: Logger
    private let state: Mutex<State>

    private struct State {
        var context: NIOSSLContext
        var stamps: [FileStamp?]
        var looked: Int64
    }

    /// Nanoseconds from one look at the files to the next.
    private static let rhythm: Int64 = 1_000_000_000

    init(_ configuration: CertificateConfiguration, logger: Logger) throws {
        self.configuration = configuration
        self.logger = logger
        do {
            state = Mutex(State(context: try Self.load(configuration), stamps: Self.stamps(configuration), looked: monotonicNow()))
        } catch {
            throw Unusable(description: "publisher.tls: \(configuration.certificate) with \(configuration.key): \(error)")
        }
    }

    /// The one in force; looks at the files at most once a second.
    func context() -> NIOSSLContext {
        state.withLock { state in
            let now = monotonicNow()
            guard now - state.looked > Self.rhythm else { return state.context }
            state.looked = now
            let stamps = Self.stamps(configuration)
            guard stamps != state.stamps else { return state.context }
            // Whatever comes of it: the same files are not tried twice.
            state.stamps = stamps
            do {
                state.context = try Self.load(configuration)
                logger.notice("The certificate was read again", metadata: [LogKey.messageID: "\(MessageID.certificateRead)"])
            } catch {
                logger.error(
                    "The new certificate cannot be used; the old one stays in force",
                    metadata: [LogKey.messageID: "\(MessageID.certificateUnusable)", "problem": "\(error)"])
            }
            return state.context
        }
    }

    private static func stamps(_ configuration: CertificateConfiguration) -> [FileStamp?] {
        [configuration.certificate, configuration.key].map { try? Files.stamp($0) }
    }

    private static func load(_ configuration: CertificateConfiguration) throws -> NIOSSLContext {
        let chain = try NIOSSLCertificate.fromPEMFile(configuration.certificate).map { NIOSSLCertificateSource.certificate($0) }
        let key = try NIOSSLPrivateKey(file: configuration.key, format: .pem)
        var tls = TLSConfiguration.makeServerConfiguration(certificateChain: chain, privateKey: .privateKey(key))
        tls.minimumTLSVersion = .tlsv12
        tls.applicationProtocols = ["http/1.1"]
        return try NIOSSLContext(configuration: tls)
    }
}
