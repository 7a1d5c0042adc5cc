import AsyncHTTPClient
import Foundation
import Kubernetes
import NIOCore
import NIOPosix

/// Asks an API server who we are and whether we may list and watch what the pools need.
public struct AccessCheck: Sendable {
    private let provider: AccessProvider
    private let scopes: [WatchScope]
    private let userAgent: String
    private let group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton

    /// For each answer of the server.
    private static let patience = TimeAmount.seconds(10)

    public init(_ source: AccessSource, scopes: [WatchScope], userAgent: String) {
        provider = AccessProvider(source)
        self.scopes = scopes
        self.userAgent = userAgent
    }

    public func run() async -> AccessReport {
        let access: ServerAccess
        do throws(AccessError) { access = try await provider.access() } catch {
            return AccessReport(outcome: .misconfigured, problem: error.description)
        }
        var report = AccessReport(outcome: .allowed)
        report.server = access.server.description
        report.credential = access.identity
        report.warnings = access.warnings
        let connections = HTTPConnections(group: group)
        do {
            let pool = try await connections.acquire(access)
            do {
                try await ask(pool.client, access, &report)
            } catch {
                let failure = await TransportFailure.explained(error, access, group: group)
                report.outcome = failure.kind == .tls || failure.kind == .credentials ? .misconfigured : .unreachable
                report.problem = "\(failure.detail)\(failure.kind.remedy.map { "; \($0)" } ?? "")"
            }
        } catch {
            return AccessReport(outcome: .misconfigured, problem: error.description)
        }
        return report
    }

    private struct Version: Decodable { var gitVersion: String }
    private struct Subject: Decodable {
        struct Status: Decodable {
            struct User: Decodable {
                var username: String?
                var groups: [String]?
            }
            var userInfo: User?
        }
        var status: Status?
    }
    private struct Review: Codable {
        struct Spec: Codable {
            struct Attributes: Codable {
                var group: String
                var namespace: String?
                var resource: String
                var verb: String
            }
            var resourceAttributes: Attributes
        }
        struct Status: Codable { var allowed: Bool }
        var apiVersion = "authorization.k8s.io/v1"
        var kind = "SelfSubjectAccessReview"
        var spec: Spec?
        var status: Status?
    }
    private struct Status: Decodable { var message: String? }

    private func ask(_ client: HTTPClient, _ access: ServerAccess, _ report: inout AccessReport) async throws {
        // Open to everybody in most clusters, and no more than a nicety.
        let (versionStatus, version) = try await call(client, access, "/version", nil)
        if versionStatus == 200 { report.version = try? JSONDecoder().decode(Version.self, from: version).gitVersion }
        let subject = Data(#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#.utf8)
        let (subjectStatus, told) = try await call(client, access, "/apis/authentication.k8s.io/v1/selfsubjectreviews", subject)
        if subjectStatus == 401 { return refused(&report, told) }
        // Since Kubernetes 1.28; without it the credential has to tell.
        if (200...299).contains(subjectStatus), let user = try? JSONDecoder().decode(Subject.self, from: told).status?.userInfo {
            report.user = user.username
            report.groups = user.groups ?? []
        }
        for scope in scopes {
            for verb in ["list", "watch"] {
                var review = Review()
                review.spec = .init(
                    resourceAttributes: .init(
                        group: scope.resource.group, namespace: scope.namespace, resource: scope.resource.plural, verb: verb))
                let (status, body) = try await call(
                    client, access, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", try JSONEncoder().encode(review))
                if status == 401 { return refused(&report, body) }
                guard (200...299).contains(status), let allowed = try? JSONDecoder().decode(Review.self, from: body).status?.allowed else {
                    report.outcome = .unreachable
                    report.problem = "\(access.server.authority) answers \(status) to an access review; is it a Kubernetes API server?"
                    return
                }
                report.rules.append(
                    .init(
                        verb: verb, group: scope.resource.group, resource: scope.resource.plural, namespace: scope.namespace,
                        allowed: allowed))
            }
        }
        if report.rules.contains(where: { !$0.allowed }) {
            report.outcome = .denied
            report.problem =
                "the API server does not let us \(report.rules.filter { !$0.allowed }.map(\.sentence).joined(separator: "; ")); "
                + "bind the Role or ClusterRole of deploy/kubernetes/ to \(report.user ?? "this identity")"
        }
    }

    private func refused(_ report: inout AccessReport, _ body: Data) {
        let message = (try? JSONDecoder().decode(Status.self, from: body))?.message.map { ": \($0.oneLine)" } ?? ""
        report.outcome = .denied
        report.problem = "the API server does not accept the credential (401\(message)); renew it: \(report.credential)"
    }

    /// A GET, or with a body a POST.
    private func call(_ client: HTTPClient, _ access: ServerAccess, _ target: String, _ body: Data?) async throws -> (Int, Data) {
        var request = HTTPClientRequest(url: access.url(target))
        request.headers = access.headers(accept: "application/json", userAgent: userAgent)
        if let body {
            request.method = .POST
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: body))
        }
        let response = try await client.execute(request, timeout: Self.patience)
        let bytes = try await response.body.collect(upTo: 1 << 20)
        return (Int(response.status.code), Data(bytes.readableBytesView))
    }
}

extension TransportFailure.Kind {
    /// What to do about it, where the failure itself does not say.
    fileprivate var remedy: String? {
        switch self {
        case .connectionRefused: "is the server up, and the port right?"
        case .unreachable, .timeout: "check the network and the firewall between here and there"
        case .nameNotResolved: "correct the server's name, or the resolver"
        case .connectionLost: "try again; look at the server's own log"
        case .tls, .credentials, .other: nil
        }
    }
}
