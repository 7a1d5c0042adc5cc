import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NIOSSL
import PublisherCore
import ServiceKit
import SwiftASN1
import X509

/// Tells Kubernetes' aggregator from others, by its certificate: signed by the request-header authority, for clients, with an allowed name.
final class FrontProxy: Sendable {
    private let authorities: FileBacked<CertificateStore>
    private let allowedNames: [String]

    init(_ configuration: ExternalMetricsConfiguration, logger: Logger) throws {
        let file = configuration.requestHeaderAuthority
        allowedNames = configuration.allowedNames
        authorities = try FileBacked("publisher.external-metrics.request-header-ca", files: [file], logger: logger) {
            CertificateStore(try NIOSSLCertificate.fromPEMFile(file).map { try X509.Certificate(derEncoded: $0.toDERBytes()) })
        }
    }

    /// Who asks, now: a connection may outlive its certificate. Cost: one or two verifications of signatures.
    func asker(_ request: Request, on channel: any Channel) async -> Asker {
        let certificate = await verify(leasehold_publisher.Certificate.presented(on: channel))
        return Asker(
            certificate, allowedNames: allowedNames, headers: request.headers.map { (name: $0.name.canonicalName, value: $0.value) })
    }

    private func verify(_ presented: [NIOSSLCertificate]) async -> Asker.Certificate {
        guard !presented.isEmpty else { return .none }
        let chain: [X509.Certificate]
        do { chain = try presented.map { try X509.Certificate(derEncoded: $0.toDERBytes()) } } catch {
            return .refused("it cannot be read")
        }
        var verifier = Verifier(rootCertificates: authorities.current) {
            RFC5280Policy()
            ClientUse()
        }
        switch await verifier.validate(leaf: chain[0], intermediates: CertificateStore(chain.dropFirst())) {
        case .couldNotValidate(let failures):
            return .refused(failures.first.map { "\($0.policyFailureReason)" } ?? "it is not signed by the request-header authority")
        case .validCertificate:
            let names = chain[0].subject.flatMap { $0 }.filter { $0.type == .RDNAttributeType.commonName }.compactMap { String($0.value) }
            return .verified(commonName: names.last ?? "")
        }
    }

    /// A certificate that says what it is for says that it is for clients, as Go's verifier asks of those in front of it.
    private struct ClientUse: VerifierPolicy {
        let verifyingCriticalExtensions: [ASN1ObjectIdentifier] = [.X509ExtensionID.extendedKeyUsage]

        func chainMeetsPolicyRequirements(chain: UnverifiedCertificateChain) -> PolicyEvaluationResult {
            do {
                guard let usage = try chain.leaf.extensions.extendedKeyUsage else { return .meetsPolicy }
                return usage.contains(.clientAuth) || usage.contains(.any)
                    ? .meetsPolicy : .failsToMeetPolicy(reason: "it is not for clients")
            } catch {
                return .failsToMeetPolicy(reason: "its extended key usage cannot be read")
            }
        }
    }
}
