import AssetCore
import Crypto
import Foundation
import Linux
import NIOCore
import ServiceKit

/// Speaks S3 to the store behind: five operations, path style, signed with Signature Version 4, bodies with their SHA-256.
struct BackingClient: Sendable {
    let origin: OriginClient
    let place: BackingPlace
    private let endpoint: TargetURL
    private let bucket: String
    private let region: String
    private let accessKey: String
    private let seed: SymmetricKey

    /// Why there is no answer that can be used.
    enum Failure: Error, CustomStringConvertible {
        /// It cannot be reached, or fails itself (5xx, 429).
        case away(String)
        /// It says no, and would say so again.
        case refused(String)
        case preconditionFailed

        var description: String {
            switch self {
            case .away(let why), .refused(let why): why
            case .preconditionFailed: "a condition did not hold"
            }
        }
    }

    init(_ configuration: BackingConfiguration, origin: OriginClient) throws {
        self.origin = origin
        place = BackingPlace(prefix: configuration.prefix)
        guard let endpoint = TargetURL(configuration.endpoint) else {
            throw Authority.SecretError(description: "asset-cache.backing.endpoint is no URL")
        }
        self.endpoint = endpoint
        bucket = configuration.bucket
        region = configuration.region
        accessKey = configuration.accessKey
        let secret = try Authority.secret(configuration.secret, configuration.secretFile, of: configuration.accessKey)
        seed = SymmetricKey(data: Data("AWS4\(secret)".utf8))
    }

    // MARK: One request

    private func ask(
        _ method: String, key: [UInt8]?, query: [(String, [UInt8])] = [], _ fields: [(String, String)] = [], body: BodySource? = nil
    ) async throws -> OriginResponse {
        var url = endpoint
        url.target = "/\(bucket)"
        if let key { url.target += "/" + PercentCoding.encode(key, keepsSlash: true) }
        if !query.isEmpty {
            url.target += "?" + query.map { "\($0.0)=\(PercentCoding.encode($0.1))" }.joined(separator: "&")
        }
        let signed = try sign(method, url, fields, body)
        for attempt in 0..<2 {
            do {
                body?.rewind()
                var pieces: (() async throws -> ByteBuffer?)?
                if let body, body.size > 0 { pieces = { try await body.next() } }
                return try await origin.send(method, url, signed, trust: .configured, reuses: attempt == 0, body: pieces)
            } catch OriginFailure.noResponse where attempt == 0 {
                // Most likely a connection that it was just closing.
                continue
            } catch let failure as OriginFailure {
                throw Failure.away("\(failure)")
            }
        }
        throw Failure.away("noResponse")
    }

    private func sign(_ method: String, _ url: TargetURL, _ given: [(String, String)], _ body: BodySource?) throws -> Fields {
        let now = Timestamp(seconds: wallClock().seconds)
        let hash = body?.sha256 ?? Signature.emptyHash
        var fields = Fields(given)
        fields.append("host", url.authority)
        fields.append("x-amz-date", now.basic)
        fields.append("x-amz-content-sha256", hash)
        if let body { fields.append("content-length", String(body.size)) } else if method == "PUT" { fields.append("content-length", "0") }
        guard let target = RequestTarget(url.target), let digest = Hex.decode(hash) else { throw Failure.refused("the request has no target") }
        var signature = Signature(signing: fields, accessKey: accessKey, region: region, payload: .hashed(digest), at: now)
        var key = seed
        for message in signature.signingKeyChain {
            key = SymmetricKey(data: Data(HMAC<SHA256>.authenticationCode(for: message, using: key)))
        }
        let canonical = try signature.canonicalRequest(method: method, target: target, fields: fields)
        let text = signature.stringToSign(canonicalHash: Array(SHA256.hash(data: canonical)))
        signature.signature = Hex.encode(HMAC<SHA256>.authenticationCode(for: text, using: key))
        fields.append("authorization", signature.authorization)
        return fields
    }

    /// Bytes of an answer that is read whole: a page of a listing, or an error.
    private static let mostDocument = 8 << 20

    private func document(_ response: OriginResponse) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        do {
            while let piece = try await response.next() {
                bytes += piece.readableBytesView
                guard bytes.count <= Self.mostDocument else {
                    response.close()
                    throw Failure.refused("an answer of more than \(Self.mostDocument) bytes")
                }
            }
        } catch is OriginFailure {
            throw Failure.away("the answer was cut")
        }
        return bytes
    }

    /// What an answer that is none of the good ones means. Reads it to its end.
    private func failure(_ response: OriginResponse, isHead: Bool = false) async -> Failure {
        let status = response.status
        var code = ""
        if isHead {
            response.close()
        } else if let bytes = try? await document(response), let root = try? XMLElement.parse(bytes) {
            code = root["Code"]?.text ?? ""
        }
        let text = "the store behind answers \(status) \(code)"
        switch status {
        case 412: return .preconditionFailed
        case 408, 429, 500...: return .away(text)
        default: return .refused(text)
        }
    }

    // MARK: Objects

    enum Got {
        /// Its body is still coming.
        case object(OriginResponse)
        /// What is known of it is still so.
        case unchanged
        case nothing
    }

    /// - Parameter etag: as the store behind calls what is here.
    func get(_ key: [UInt8], unless etag: String?) async throws -> Got {
        let response = try await ask("GET", key: key, etag.map { [("if-none-match", "\"\($0)\"")] } ?? [])
        switch response.status {
        case 200: return .object(response)
        case 304:
            _ = try? await response.next()
            return .unchanged
        case 404:
            let bytes = try await document(response)
            let code = (try? XMLElement.parse(bytes))?["Code"]?.text
            if code == "NoSuchBucket" { throw Failure.refused("the store behind has no bucket \(bucket)") }
            return .nothing
        default: throw await failure(response)
        }
    }

    /// Nil: there is none.
    func head(_ key: [UInt8]) async throws -> OriginResponse? {
        let response = try await ask("HEAD", key: key)
        switch response.status {
        case 200:
            // Its end gives the connection back.
            _ = try? await response.next()
            return response
        case 404:
            _ = try? await response.next()
            return nil
        default: throw await failure(response, isHead: true)
        }
    }

    /// One request for a part of an object, or all of it: for what finds no room here.
    func relay(_ key: [UInt8], range: String?) async throws -> OriginResponse {
        let response = try await ask("GET", key: key, range.map { [("range", $0)] } ?? [])
        switch response.status {
        case 200, 206: return response
        case 404:
            response.close()
            throw S3Error(.noSuchKey)
        case 416:
            response.close()
            throw S3Error(.invalidRange)
        default: throw await failure(response)
        }
    }

    /// The entity tag that it has there. `body` nil: it is empty.
    func put(_ key: [UInt8], _ fields: [(String, String)], _ body: BodySource?) async throws -> String {
        let response = try await ask("PUT", key: key, fields, body: body)
        guard response.status == 200 else { throw await failure(response) }
        let etag = response.fields["etag"]?.filter { $0 != "\"" } ?? ""
        _ = try await document(response)
        return etag
    }

    /// One that is not there is gone.
    func delete(_ key: [UInt8]) async throws {
        let response = try await ask("DELETE", key: key)
        switch response.status {
        case 200, 204: _ = try await document(response)
        case 404:
            let code = (try? XMLElement.parse(try await document(response)))?["Code"]?.text
            if code == "NoSuchBucket" { throw Failure.refused("the store behind has no bucket \(bucket)") }
        default: throw await failure(response)
        }
    }

    func tags(_ key: [UInt8]) async throws -> Tags {
        let response = try await ask("GET", key: key, query: [("tagging", [])])
        guard response.status == 200 else { throw await failure(response) }
        return try Tags(xml: try await document(response))
    }

    /// From behind `marker` on; a marker that is a common prefix stands for all that it begins.
    func list(prefix: [UInt8], delimiter: [UInt8] = [], after marker: [UInt8] = [], most: Int = 1_000) async throws -> BackingPage {
        var query: [(String, [UInt8])] = [("encoding-type", Array("url".utf8)), ("max-keys", Array("\(most)".utf8)), ("prefix", prefix)]
        if !delimiter.isEmpty { query.append(("delimiter", delimiter)) }
        if !marker.isEmpty { query.append(("marker", marker)) }
        let response = try await ask("GET", key: nil, query: query)
        guard response.status == 200 else { throw await failure(response) }
        let bytes = try await document(response)
        do throws(S3Error) { return try BackingPage(xml: bytes) } catch {
            throw Failure.refused("the store behind answers with no listing")
        }
    }
}
