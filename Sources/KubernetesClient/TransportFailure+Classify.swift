import AsyncHTTPClient
import CLinux
import Kubernetes
import NIOCore
import NIOHTTP1
import NIOHTTP2
import NIOPosix
import NIOSSL

extension TransportFailure {
    /// What an error of the HTTP client means, in one line about the server.
    init(_ error: any Error, server: ServerAddress) {
        let place = server.authority
        switch error {
        case let error as TransportFailure: self = error
        case let error as AccessError: self.init(.credentials, error.description)
        case let error as NIOConnectionError: self.init(error, server)
        case let error as IOError: self.init(errno: error.errnoCode, place)
        case let error as HTTPClientError: self.init(error, server)
        case ChannelError.connectTimeout: self.init(noConnection: place)
        // The connection ended in this moment.
        case is ChannelError: self.init(endedUnderARequest: place)
        case let error as NIOSSLError: self.init(error, server)
        case let error as NIOSSLExtraError:
            self.init(.tls, "\(place): \(error == .failedToValidateHostname ? "the server's certificate is not for its name" : error.description.oneLine)")
        case let error as BoringSSLError: self.init(tls: error, server)
        case is any NIOHTTP2Error: self.init(.connectionLost, "\(place) ended the stream before its answer was complete")
        case is HTTPParserError: self.init(.connectionLost, "\(place): what came is not HTTP, or ended in the middle")
        default: self.init(.other, "\(place): \(String(describing: error).oneLine)")  // open: whatever libraries throw
        }
    }

    // The client's two layers say the same thing each in its own words.

    private init(noConnection place: String) {
        let seconds = HTTPConnections.connectTimeout.nanoseconds / 1_000_000_000
        self.init(.unreachable, "\(place) does not answer: no connection within \(seconds) s")
    }

    private init(endedUnderARequest place: String) { self.init(.connectionLost, "\(place) closed the connection under the request") }

    private init(errno: Int32, _ place: String) {
        let text = String(cString: strerror(errno))
        switch errno {
        case ECONNREFUSED: self.init(.connectionRefused, "\(place) refuses connections")
        case ENETUNREACH, EHOSTUNREACH, EHOSTDOWN, ENETDOWN: self.init(.unreachable, "\(place) cannot be reached: \(text)")
        case ETIMEDOUT: self.init(.unreachable, "\(place) does not answer: \(text)")
        case ECONNRESET, EPIPE, ECONNABORTED: self.init(.connectionLost, "\(place) cut the connection: \(text)")
        default: self.init(.other, "\(place): \(text)")
        }
    }

    private init(_ error: NIOConnectionError, _ server: ServerAddress) {
        // One for each address of the name: any that says more than another is shown.
        let errors = error.connectionErrors.map { TransportFailure($0.error, server: server) }
        if let first = errors.first(where: { $0.kind == .tls }) ?? errors.first {
            self = first
        } else if error.dnsAError != nil || error.dnsAAAAError != nil {
            self.init(.nameNotResolved, "the name \(error.host) does not resolve")
        } else {
            self.init(.unreachable, "\(server.authority) has no address that answers")
        }
    }

    private init(_ error: HTTPClientError, _ server: ServerAddress) {
        let place = server.authority
        switch error {
        case .connectTimeout, .getConnectionFromPoolTimeout: self.init(noConnection: place)
        case .tlsHandshakeTimeout: self.init(.timeout, "\(place) accepts connections and does not answer in TLS")
        case .readTimeout, .deadlineExceeded, .writeTimeout: self.init(.timeout, "\(place) is silent")
        case .remoteConnectionClosed: self.init(.connectionLost, "\(place) closed the connection before its answer was complete")
        // Nobody here has cancelled when this is read: the library says so of a request for an HTTP/2 connection that is closing.
        case .cancelled: self.init(endedUnderARequest: place)
        default: self.init(.other, "\(place): \(error.description.oneLine)")  // open: the library's, and no enum
        }
    }

    private init(_ error: NIOSSLError, _ server: ServerAddress) {
        switch error {
        case .handshakeFailed(let cause): self.init(tls: cause, server)
        case .uncleanShutdown:
            self.init(.connectionLost, "\(server.authority) closed the connection before its answer was complete")
        case .cannotFindPeerIP, .cannotMatchULabel, .failedToLoadCertificate, .failedToLoadPrivateKey, .noCertificateToValidate,
            .noSuchFilesystemObject, .readInInvalidTLSState, .shutdownFailed, .unableToAllocateBoringSSLObject,
            .unableToValidateCertificate, .writeDuringTLSShutdown:
            self.init(.tls, "\(server.authority): \(String(describing: error).oneLine)")
        @unknown default: self.init(.tls, "\(server.authority): \(String(describing: error).oneLine)")
        }
    }

    private init(tls error: BoringSSLError, _ server: ServerAddress) {
        let text = String(describing: error)
        let place = server.authority
        if text.contains("CERTIFICATE_VERIFY_FAILED") {
            self.init(.tls, "\(place): the server's certificate does not verify")
        } else if text.contains("EOF during handshake") {
            self.init(.tls, "\(place) ended the connection during the TLS handshake")
        } else if text.contains("WRONG_VERSION_NUMBER") || text.contains("HTTP_REQUEST") {
            self.init(.tls, "\(place) does not speak TLS")
        } else if let alert = text.range(of: "_ALERT_") {
            let name = text[alert.upperBound...].prefix { $0.isLetter || $0 == "_" }
            self.init(.tls, "\(place) refused our side of TLS: \(name.lowercased().replacing("_", with: " "))")
        } else {
            self.init(.tls, "\(place): \(text.oneLine)")
        }
    }
}
