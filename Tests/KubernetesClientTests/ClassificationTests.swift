import AsyncHTTPClient
import Kubernetes
@testable import KubernetesClient
import NIOCore
import Testing

/// What the client library says when a connection ends in the moment it is given a request: nothing is wrong with server or configuration.
@Suite struct ClassificationTests {
    private func classified(_ error: any Error) throws -> TransportFailure {
        TransportFailure(error, server: try #require(ServerAddress("https://10.0.0.1:6443")))
    }

    @Test(arguments: [ChannelError.ioOnClosedChannel, .alreadyClosed, .eof, .inputClosed, .outputClosed])
    func aConnectionThatEndsUnderARequestIsLost(_ error: ChannelError) throws {
        #expect(try classified(error) == TransportFailure(.connectionLost, "10.0.0.1:6443 closed the connection under the request"))
    }

    /// HTTP/2: the request came to a connection that was closing.
    @Test func whatNobodyHereCancelledWasLost() throws {
        #expect(
            try classified(HTTPClientError.cancelled)
                == TransportFailure(.connectionLost, "10.0.0.1:6443 closed the connection under the request"))
    }

    @Test func noConnectionInTimeIsUnreachable() throws {
        for error in [ChannelError.connectTimeout(.seconds(10)), HTTPClientError.connectTimeout] as [any Error] {
            let failure = try classified(error)
            #expect(failure.kind == .unreachable && failure.detail.contains("no connection within"), "\(failure)")
        }
    }
}
