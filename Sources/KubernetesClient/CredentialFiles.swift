import CLinux
import Linux

/// Reading what credentials are made of, with errors that say what to do.
enum CredentialFiles {
    /// Larger than any certificate bundle or kubeconfig that is one.
    static let limit = 4 << 20

    /// The whole file. `what` names it in messages: `certificate authority`.
    static func read(_ path: String, _ what: String, namedBy place: String? = nil) throws(AccessError) -> [UInt8] {
        do throws(SystemError) {
            return try Files.read(path, limit: limit).bytes
        } catch {
            let remedy =
                switch error.errno {
                case ENOENT: "put it there, or correct the path"
                case EACCES, EPERM: "let this user read it"
                case EFBIG: "it is larger than \(limit >> 20) MiB: is it the right file?"
                case EINVAL: "name a regular file"
                default: "check the file system"
                }
            let where_ = place.map { " (named by \($0))" } ?? ""
            throw AccessError(path, "the \(what)\(where_) cannot be read: \(String(cString: strerror(error.errno)))", remedy: remedy)
        }
    }

    /// A token: one word of visible ASCII, white space around it ignored.
    static func token(_ bytes: [UInt8], from place: String) throws(AccessError) -> Secret {
        let isSpace: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x0a || $0 == 0x0d || $0 == 0x09 }
        guard let first = bytes.firstIndex(where: { !isSpace($0) }), let last = bytes.lastIndex(where: { !isSpace($0) }) else {
            throw AccessError(place, "the token is empty", remedy: "write a token to it, or remove the key")
        }
        let word = bytes[first...last]
        guard word.allSatisfy({ (0x21...0x7e).contains($0) }) else {
            throw AccessError(place, "the token has white space or other bytes that no token has", remedy: "is it the right file?")
        }
        return Secret(word)
    }
}

extension Secret {
    /// `Bearer TOKEN`.
    static func bearer(_ token: Secret) -> Secret { Secret(Array("Bearer ".utf8) + token.exposed) }
}
