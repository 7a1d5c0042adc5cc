/// The request methods that matter here; any other token is passed on (methods are case-sensitive, RFC 9110 §9.1).
public enum HTTPMethod: UInt8, Sendable, BitwiseCopyable {
    case get, head, post, put, delete, options, patch, connect, trace, other

    init(_ token: UnsafeRawBufferPointer) {
        self =
            switch token.count {
            case 3: token.isExactly("GET") ? .get : token.isExactly("PUT") ? .put : .other
            case 4: token.isExactly("POST") ? .post : token.isExactly("HEAD") ? .head : .other
            case 5: token.isExactly("PATCH") ? .patch : token.isExactly("TRACE") ? .trace : .other
            case 6: token.isExactly("DELETE") ? .delete : .other
            case 7: token.isExactly("OPTIONS") ? .options : token.isExactly("CONNECT") ? .connect : .other
            default: .other
            }
    }
}

/// HTTP/1.0, or HTTP/1.1 and later minor versions, which are treated as 1.1 (RFC 9110 §2.5).
public enum HTTPVersion: UInt8, Sendable, BitwiseCopyable {
    case v10, v11
}

extension UnsafeRawBufferPointer {
    @inline(__always) func isExactly(_ text: StaticString) -> Bool {
        guard count == text.utf8CodeUnitCount else { return false }
        for i in 0..<count where self[i] != text.utf8Start[i] { return false }
        return true
    }
}
