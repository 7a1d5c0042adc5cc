import Model
import Yams

extension AssetCacheConfiguration {
    static let schema = Section(initial: AssetCacheConfiguration()) { keys in
        keys.value(
            "address", \.address, .address, traits: .restart,
            "Where the S3 API is served; under systemd the socket unit's FileDescriptorName=asset-cache.")
        keys.value("directory", \.directory, .path(), traits: .restart, "Blobs and their index; one process for each directory.")
        keys.value(
            "size", \.size, .size((16 << 20)...(1 << 50)), traits: .restart,
            "Most bytes of objects and parts on disk; beyond it, objects of buckets that are not pinned are evicted.")
        keys.value(
            "names", \.names, .list(of: .hostName),
            "Host names that are ours, beside the address itself; BUCKET.NAME is virtual-host style.")
        keys.sections(
            "keys", \.keys, AccessKeyConfiguration.schema, start: { _ in AccessKeyConfiguration() }, label: { $0.accessKey },
            "The keys of S3's clients; without any, only anonymous callers are served.")
        keys.value(
            "anonymous", \.anonymous, .bucketRight,
            "What callers from loopback may do without a key; browsers on this machine are such callers, too.")
        keys.value(
            "pinned", \.pinned, .list(of: .name), traits: .restart,
            "Buckets whose objects are never evicted; when only they are left, writes get 507.")
        keys.value(
            "verify-reads", \.verifyReads, .flag, "Whether a blob is compared with its SHA-256 before its first byte is served.")
        keys.value("scrub", \.scrub, .deadline, traits: .restart, "From one comparison of every blob with its SHA-256 to the next.")
        keys.value(
            "drain", \.drain, .duration(atLeast: .zero, atMost: .seconds(3_600)), "From SIGTERM to the end of requests that still run.")
        keys.optionalSection(
            "fetch", \.fetch, FetchConfiguration.schema, traits: .restart,
            "The forward proxy and GET /fetch?url=; without the section there is neither.")
        keys.sections(
            "reverse", \.reverse, ReverseConfiguration.schema, traits: .restart, start: { _ in ReverseConfiguration() }, label: { $0.origin },
            "Origins that are cached at an address of their own.")
        keys.section("caching", \.caching, CachingConfiguration.schema, traits: .restart, "How responses of origins are kept.")
        keys.section("profiles", \.profiles, ProfilesConfiguration.schema, traits: .restart, "Browser profiles, at /profiles/TENANT/NAME.")
        keys.optionalSection(
            "backing", \.backing, BackingConfiguration.schema, traits: .restart,
            "An S3 behind this store, which nodes share; this disk is then a cache of it.")
    }
}

extension AccessKeyConfiguration {
    static let schema = Section(initial: AccessKeyConfiguration()) { keys in
        keys.value("access-key", \.accessKey, .accessKey, traits: .required, example: "demo", "The key's public name.")
        keys.optional("secret", \.secret, .secret, absent: "", "The secret itself: for tests, because others read this file.")
        keys.optional(
            "secret-file", \.secretFile, .path(), absent: "", "A file that holds the secret; a line break at its end does not count.")
        keys.value(
            "buckets", \.buckets, .grants, traits: .required, example: "{ \"*\": read-write }",
            "What the key may do: a bucket's name, or the beginning of one and \"*\", with none, read, write or read-write; the most exact counts."
        )
        keys.value(
            "tenants", \.tenants, .tenantGrants, "The same for the profiles of tenants: a tenant's name, or the beginning of one and \"*\".")
    }
}

extension AssetCacheConfiguration {
    /// What no single key can know.
    func check(_ reading: inout ConfigurationReading) {
        var seen: Set<String> = []
        for (i, key) in keys.enumerated() {
            let path = "asset-cache.keys[\(i)]"
            if !key.accessKey.isEmpty, !seen.insert(key.accessKey).inserted {
                reading.complain(about: "\(path).access-key", "is there already", remedy: "give each key its own name")
            }
            switch (key.secret, key.secretFile) {
            case (nil, nil) where !key.accessKey.isEmpty && !reading.isGiven("\(path).secret") && !reading.isGiven("\(path).secret-file"):
                reading.complain(about: path, "has no secret", remedy: "add secret-file: PATH")
            case (.some, .some):
                reading.complain(about: "\(path).secret", "stands beside secret-file", remedy: "keep one of the two")
            case (nil, nil), (.some, nil), (nil, .some): break
            }
        }
        if anonymous != .none, !address.isLoopback {
            reading.complain(
                about: "asset-cache.anonymous", "is for an address on loopback, and \(address) is none",
                remedy: "write anonymous: none, or address: 127.0.0.1:9900")
        }
        if let backing {
            switch (backing.secret, backing.secretFile) {
            case (nil, nil) where !reading.isGiven("asset-cache.backing.secret") && !reading.isGiven("asset-cache.backing.secret-file"):
                reading.complain(about: "asset-cache.backing", "has no secret", remedy: "add secret-file: PATH")
            case (.some, .some):
                reading.complain(about: "asset-cache.backing.secret", "stands beside secret-file", remedy: "keep one of the two")
            case (nil, nil), (.some, nil), (nil, .some): break
            }
        }
        if let fetch, !address.isLoopback, fetch.allowHosts.contains("*") {
            reading.complain(
                about: "asset-cache.fetch.allow-hosts", "would make an open relay of \(address)",
                remedy: "name the hosts, or write address: 127.0.0.1:9900")
        }
    }
}

extension FetchConfiguration {
    static let schema = Section(initial: FetchConfiguration()) { keys in
        keys.value(
            "allow-hosts", \.allowHosts, .list(of: .hostPattern), traits: .restart,
            "Hosts that may be asked: \"*\", names, or \"*.\" and the end of names.")
        keys.value(
            "allow-private", \.allowPrivate, .list(of: .socketAddress), traits: .restart,
            "Private addresses with ports that may be asked all the same; every other one is refused.")
        keys.value(
            "connect-ports", \.connectPorts, .list(of: .count(1...65_535)), traits: .restart, "Ports that CONNECT may lead to.")
        keys.optional(
            "trust-file", \.trustFile, .path(), traits: .restart, absent: "",
            "Certificates (PEM) of authorities that are believed beside the system's.")
    }
}

extension ReverseConfiguration {
    static let schema = Section(initial: ReverseConfiguration()) { keys in
        keys.value(
            "address", \.address, .address, traits: [.required, .restart], example: "127.0.0.1:9901",
            "Where every request is for that origin; under systemd FileDescriptorName=asset-cache-reverse.")
        keys.value(
            "origin", \.origin, .originURL, traits: [.required, .restart], example: "http://127.0.0.1:8000",
            "The origin: scheme, host and port; it may be private.")
    }
}

extension CachingConfiguration {
    static let schema = Section(initial: CachingConfiguration()) { keys in
        keys.value("largest", \.largest, .size(0...(1 << 40)), traits: .restart, "Bytes of the largest response that is kept.")
        keys.value("memory", \.memory, .size(0...(1 << 36)), traits: .restart, "Small responses that are served from memory.")
        keys.value(
            "negative", \.negative, .duration(atLeast: .zero, atMost: .seconds(3_600)), traits: .restart,
            "How long errors are fresh of which the origin says nothing; 0 does not keep them.")
        keys.value(
            "store-set-cookie", \.storeSetCookie, .flag, traits: .restart,
            "Whether responses with Set-Cookie are kept, without that field; they may still be one caller's own.")
        keys.value(
            "connect", \.connect, .duration(atLeast: .milliseconds(10), atMost: .seconds(60)), traits: .restart,
            "How long a connection to an origin may take, TLS not counted.")
        keys.value(
            "first-byte", \.firstByte, .duration(atLeast: .milliseconds(10), atMost: .seconds(600)), traits: .restart,
            "From a request to the head of its response; more is 504.")
        keys.value(
            "idle", \.idle, .duration(atLeast: .milliseconds(10), atMost: .seconds(600)), traits: .restart,
            "Between two pieces of an origin's body; more cuts it.")
    }
}

extension ProfilesConfiguration {
    static let schema = Section(initial: ProfilesConfiguration()) { keys in
        keys.value("versions", \.versions, .count(1...100), traits: .restart, "Versions of each profile that are kept.")
        keys.value("largest", \.largest, .size(1...(1 << 36)), traits: .restart, "Bytes of the largest profile.")
        keys.value(
            "leases", \.leases, .flag, traits: .restart,
            "Whether a worker's lease serves as its credential: the pool-keeper of this file says which leases are live, and whose.")
    }
}

extension BackingConfiguration {
    static let schema = Section(initial: BackingConfiguration()) { keys in
        keys.value(
            "endpoint", \.endpoint, .originURL, traits: [.required, .restart], example: "https://s3.example.org",
            "The S3 behind: scheme, host and port; buckets are named in its path.")
        keys.value(
            "bucket", \.bucket, .bucketName, traits: [.required, .restart], example: "leasehold", "The one bucket that is used there; it must exist.")
        keys.value("region", \.region, .accessKey, traits: .restart, "What requests are signed for.")
        keys.value("access-key", \.accessKey, .accessKey, traits: [.required, .restart], example: "node", "The key that requests are signed with.")
        keys.optional("secret", \.secret, .secret, traits: .restart, absent: "", "Its secret: for tests, because others read this file.")
        keys.optional(
            "secret-file", \.secretFile, .path(), traits: .restart, absent: "",
            "A file that holds the secret; a line break at its end does not count.")
        keys.value(
            "prefix", \.prefix, .keyPrefix, traits: .restart,
            "What the names there begin with: BUCKET/KEY stands behind it.")
        keys.value(
            "mode", \.mode, .choice([("read-through", .readThrough), ("write-through", .writeThrough), ("write-back", .writeBack)]),
            traits: .restart,
            "read-through: writes stay here; write-through: acknowledged when they are there; write-back: acknowledged when durable here, sent later."
        )
        keys.value(
            "queue", \.queue, .count(1...1_000_000), traits: .restart,
            "Names that wait to be sent at most; more writes are answered 503 SlowDown.")
        keys.value(
            "check-after", \.checkAfter, .duration(atLeast: .zero, atMost: .seconds(30 * 86_400)), traits: .restart,
            "How long a copy is served without asking whether it still holds; 0 asks each time.")
        keys.optional(
            "trust-file", \.trustFile, .path(), traits: .restart, absent: "",
            "Certificates (PEM) of authorities that are believed beside the system's.")
        keys.value(
            "connect", \.connect, .duration(atLeast: .milliseconds(10), atMost: .seconds(60)), traits: .restart,
            "How long a connection may take, TLS not counted.")
        keys.value(
            "first-byte", \.firstByte, .duration(atLeast: .milliseconds(10), atMost: .seconds(600)), traits: .restart,
            "From a request to the head of its response; more is a failure.")
        keys.value(
            "idle", \.idle, .duration(atLeast: .milliseconds(10), atMost: .seconds(600)), traits: .restart,
            "Between two pieces of a body, in either direction; more is a failure.")
    }
}

extension ListenAddress {
    /// 127.0.0.0/8, ::1, or a Unix socket.
    var isLoopback: Bool {
        switch self {
        case .unix: true
        case .ip(let address): IPNetwork.loopback.contains { $0.contains(address) }
        }
    }
}

extension IPNetwork {
    fileprivate static let loopback = ["127.0.0.0/8", "::1/128"].compactMap { IPNetwork($0) }
}

extension ValueType where Value == BucketRight {
    static var bucketRight: ValueType {
        .choice([("none", .none), ("read", .read), ("write", .write), ("read-write", .readWrite)])
    }
}

extension ValueType where Value == String {
    /// Printable ASCII of 1 to 128 bytes, none of which means something in a credential.
    static var accessKey: ValueType {
        .scalar(
            "text",
            parse: { (text, _) throws(Complaint) in
                guard (1...128).contains(text.utf8.count), text.utf8.allSatisfy({ (0x21...0x7e).contains($0) && !",=/;".utf8.contains($0) })
                else {
                    throw Complaint("\(quoted(text)) is not an access key", remedy: "use up to 128 letters, digits and signs but , = / ;")
                }
                return text
            },
            render: { .text($0) })
    }

    /// Never shown in a message.
    static var secret: ValueType {
        .scalar(
            "text",
            parse: { (text, _) throws(Complaint) in
                guard (8...256).contains(text.utf8.count), !text.utf8.contains(where: { $0 < 0x21 || $0 == 0x7f }) else {
                    throw Complaint("the secret is not one", remedy: "use 8 to 256 characters without spaces")
                }
                return text
            },
            render: { .text($0) })
    }

    static var hostName: ValueType {
        .scalar(
            "host name",
            parse: { (text, _) throws(Complaint) in
                let labels = text.lowercased().split(separator: ".", omittingEmptySubsequences: false)
                let isValid =
                    text.utf8.count <= 253
                    && labels.allSatisfy { label in
                        (1...63).contains(label.utf8.count) && !label.hasPrefix("-") && !label.hasSuffix("-")
                            && label.utf8.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d }
                    }
                guard isValid else {
                    throw Complaint("\(quoted(text)) is not a host name", remedy: "write it like assets.example.org, without port")
                }
                return text.lowercased()
            },
            render: { .text($0) })
    }
}

extension ValueType where Value == String {
    /// As S3 has them.
    static var bucketName: ValueType {
        .scalar(
            "bucket",
            parse: { (text, _) throws(Complaint) in
                guard (3...63).contains(text.utf8.count),
                    text.utf8.allSatisfy({ (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d || $0 == 0x2e })
                else { throw Complaint("\(quoted(text)) is not a bucket's name", remedy: "use 3 to 63 small letters, digits, - and .") }
                return text
            },
            render: { .text($0) })
    }

    /// The beginning of keys: up to 256 bytes without control characters, no slash in front.
    static var keyPrefix: ValueType {
        .scalar(
            "text",
            parse: { (text, _) throws(Complaint) in
                guard text.utf8.count <= 256, !text.hasPrefix("/"), text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else {
                    throw Complaint("\(quoted(text)) is not the beginning of keys", remedy: "write it like nodes/, without a slash in front")
                }
                return text
            },
            render: { .text($0) })
    }
}

extension ValueType where Value == SocketAddress {
    /// `127.0.0.1:8000`
    static var socketAddress: ValueType {
        .scalar(
            "address",
            parse: { (text, _) throws(Complaint) in
                guard let address = SocketAddress(text), address.port > 0 else {
                    throw Complaint("\(quoted(text)) is not an address with a port", remedy: "write it like 127.0.0.1:8000 or [::1]:8000")
                }
                return address
            },
            render: { .text($0.description) })
    }
}

extension ValueType where Value == String {
    /// `*`, `example.org`, `*.example.org`
    static var hostPattern: ValueType {
        .scalar(
            "host pattern",
            parse: { (text, _) throws(Complaint) in
                let name = text.hasPrefix("*.") ? String(text.dropFirst(2)) : text
                let isName = !name.isEmpty && name.utf8.count <= 253 && name.lowercased().utf8.allSatisfy {
                    (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d || $0 == 0x2e || $0 == 0x5f || $0 == 0x3a
                }
                guard text == "*" || isName else {
                    throw Complaint("\(quoted(text)) is not a host pattern", remedy: "write \"*\", example.org, or \"*.example.org\"")
                }
                return text.lowercased()
            },
            render: { .text($0) })
    }

    /// Scheme, host and port, nothing behind.
    static var originURL: ValueType {
        .scalar(
            "URL",
            parse: { (text, _) throws(Complaint) in
                let isOrigin = ["http://", "https://"].contains { scheme in
                    guard text.hasPrefix(scheme) else { return false }
                    let rest = text.dropFirst(scheme.utf8.count)
                    return !rest.isEmpty && !rest.contains { "/?#@ ".contains($0) }
                }
                guard isOrigin else {
                    throw Complaint("\(quoted(text)) is not an origin", remedy: "write http://HOST:PORT or https://HOST, without a path")
                }
                return text
            },
            render: { .text($0) })
    }
}

extension ValueType where Value == [BucketGrant] {
    /// `{ "*": read-write, shared: read }`
    static var grants: ValueType { rights("bucket: right", isPattern) }

    /// The same by tenant.
    static var tenantGrants: ValueType {
        rights("tenant: right") { text in
            let name = text.hasSuffix("*") ? text.dropLast() : text[...]
            return text.utf8.count <= 128 && (!name.isEmpty || text == "*")
                && name.utf8.allSatisfy { (0x21...0x7e).contains($0) && !"/*%?#".utf8.contains($0) }
        }
    }

    private static func rights(_ typeName: String, _ isPattern: @escaping @Sendable (String) -> Bool) -> ValueType {
        ValueType(
            name: typeName,
            read: { node, key, reading in
                guard case .mapping(let mapping) = node else {
                    reading.complain(
                        at: node.mark, key,
                        Complaint(
                            "expected buckets with rights, found \(node.isAbsent ? "nothing" : node.kindName)",
                            remedy: "write { \"*\": read-write }"))
                    return nil
                }
                var grants: [BucketGrant] = []
                for (name, value) in mapping {
                    guard case .scalar(let pattern) = name, isPattern(pattern.string) else {
                        reading.complain(
                            at: name.mark, key,
                            Complaint("a key is no name", remedy: "write a name, or the beginning of one and *"))
                        continue
                    }
                    let path = "\(key).\(pattern.string)"
                    reading.marks[path] = value.mark
                    if let right = ValueType<BucketRight>.bucketRight.read(value, path, &reading) {
                        grants.append(BucketGrant(pattern: pattern.string, right: right))
                    }
                }
                return grants
            },
            render: { grants in
                .mapping(
                    grants.map { ConfigurationValue.Entry(key: $0.pattern, value: ValueType<BucketRight>.bucketRight.render($0.right)) })
            })
    }

    @Sendable private static func isPattern(_ text: String) -> Bool {
        let name = text.hasSuffix("*") ? text.dropLast() : text[...]
        return text.utf8.count <= 64 && (!name.isEmpty || text == "*")
            && name.utf8.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d || $0 == 0x2e }
    }
}
