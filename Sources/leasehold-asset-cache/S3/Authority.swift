import AssetCore
import Crypto
import Foundation
import Linux
import ServiceKit

/// Who may do what: the keys of the configuration that is in force. A value; a reload makes a new one.
struct Authority: Sendable {
    private var keys: [String: Key] = [:]
    private let anonymous: BucketRight
    let names: [String]
    let verifiesReads: Bool

    private struct Key: Sendable {
        /// `AWS4` and the secret.
        var seed: SymmetricKey
        var configuration: AccessKeyConfiguration
    }

    struct SecretError: Error, CustomStringConvertible {
        var description: String
    }

    /// Reads the files that hold secrets.
    init(_ configuration: AssetCacheConfiguration) throws {
        anonymous = configuration.anonymous
        names = configuration.names
        verifiesReads = configuration.verifyReads
        for key in configuration.keys {
            let secret = try Self.secret(key.secret, key.secretFile, of: key.accessKey)
            keys[key.accessKey] = Key(seed: SymmetricKey(data: Data("AWS4\(secret)".utf8)), configuration: key)
        }
    }

    /// Given in the configuration, or in a file.
    static func secret(_ given: String?, _ file: String?, of accessKey: String) throws -> String {
        if let given { return given }
        let path = file ?? ""
        let bytes: [UInt8]
        do throws(SystemError) { bytes = try Files.read(path, limit: 4096).bytes } catch {
            throw SecretError(description: "the secret of key \(accessKey) cannot be read: \(error)")
        }
        let secret = String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .newlines)
        guard secret.utf8.count >= 8 else { throw SecretError(description: "the secret in \(path) is shorter than 8 bytes") }
        return secret
    }

    /// Who a request is from, once that is proved.
    struct Caller: Sendable {
        fileprivate var key: AccessKeyConfiguration?
        fileprivate var anonymous: BucketRight
        /// Nil for an anonymous caller.
        var signature: Signature?
        fileprivate var signingKey: SymmetricKey?

        var name: String { key?.accessKey ?? "anonymous" }

        private func right(in bucket: String) -> BucketRight { key?.right(in: bucket) ?? anonymous }

        func may(_ right: S3Operation.Right, in bucket: String) -> Bool {
            switch right {
            case .read: self.right(in: bucket).canRead
            case .write: self.right(in: bucket).canWrite
            }
        }

        /// An anonymous caller has no tenants.
        func may(_ right: S3Operation.Right, ofTenant tenant: String) -> Bool {
            guard let key else { return false }
            switch right {
            case .read: return key.right(ofTenant: tenant).canRead
            case .write: return key.right(ofTenant: tenant).canWrite
            }
        }

        /// What the key makes of a string to sign.
        func sign(_ bytes: [UInt8]) -> String {
            guard let signingKey else { return "" }
            return Hex.encode(HMAC<SHA256>.authenticationCode(for: bytes, using: signingKey))
        }
    }

    /// The same by a signature or, for what is not S3, by `Authorization: Basic`. Never anonymous.
    func identifyWithBasic(method: String, target: RequestTarget, fields: Fields, now: Timestamp) throws(S3Error) -> Caller {
        guard let text = fields["authorization"], text.lowercased().hasPrefix("basic ") else {
            return try identify(method: method, target: target, fields: fields, isLocal: false, now: now)
        }
        guard let bytes = Base64.decode(String(text.dropFirst(6).filter { $0 != " " })), let colon = bytes.firstIndex(of: UInt8(ascii: ":")),
            let key = keys[String(decoding: bytes[..<colon], as: UTF8.self)]
        else { throw S3Error(.accessDenied) }
        let given = Array("AWS4".utf8) + bytes[(colon + 1)...]
        guard key.seed.withUnsafeBytes({ Signature.equalInConstantTime(given, $0) }) else { throw S3Error(.accessDenied) }
        return Caller(key: key.configuration, anonymous: .none, signature: nil, signingKey: nil)
    }

    /// Checks the signature. Throws what S3 says to a forger.
    func identify(method: String, target: RequestTarget, fields: Fields, isLocal: Bool, now: Timestamp) throws(S3Error) -> Caller {
        guard let signature = try Signature.read(target: target, fields: fields, now: now) else {
            guard isLocal, anonymous != .none else { throw S3Error(.accessDenied) }
            return Caller(key: nil, anonymous: anonymous, signature: nil, signingKey: nil)
        }
        guard let key = keys[signature.accessKey] else { throw S3Error(.invalidAccessKeyID) }
        var signing = key.seed
        for message in signature.signingKeyChain {
            signing = SymmetricKey(data: Data(HMAC<SHA256>.authenticationCode(for: message, using: signing)))
        }
        let caller = Caller(key: key.configuration, anonymous: .none, signature: signature, signingKey: signing)
        let canonical = try signature.canonicalRequest(method: method, target: target, fields: fields)
        let expected = caller.sign(signature.stringToSign(canonicalHash: Array(SHA256.hash(data: canonical))))
        guard Signature.equalInConstantTime(expected.utf8, signature.signature.utf8) else { throw S3Error(.signatureDoesNotMatch) }
        return caller
    }
}
