// swift-tools-version: 6.1
import PackageDescription

// One table of targets in dependency order. `scripts/check-imports` holds each module to its row in
// docs/architecture.md, so a target's dependencies here and its imports there say the same thing.

let collections = Target.Dependency.product(name: "Collections", package: "swift-collections")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let yams = Target.Dependency.product(name: "Yams", package: "Yams")
let httpClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioHTTP2 = Target.Dependency.product(name: "NIOHTTP2", package: "swift-nio-http2")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")

/// Every value of the two hot processes has one owner, so accesses cannot overlap; the check of that costs a tenth of their user time.
let unchecked: [SwiftSetting] = [.unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))]

let package = Package(
    name: "leasehold",
    products: [],
    dependencies: [
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        // Neither the pool-keeper nor the dispatcher links any of what follows.
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        // Without swift-configuration: there is one file, and it is ours.
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: ["FullFoundation"]),  // the publisher
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),  // the publisher: client certificates
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),  // the same: what certificates are made of
        // The publisher, for KEDA. Without a plug-in: what is generated is committed (scripts/generate-protobuf).
        .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.3"),
        .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.2"),
        .package(url: "https://github.com/grpc/grpc-swift-protobuf", from: "2.4.1"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: []),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),  // the asset cache: digests and signatures
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),  // the asset cache: its index
    ],
    targets: [
        // Pure: values that decide. No sockets, clocks, logging, tasks or Foundation.
        .target(name: "Model"),                                             // ids, addresses, endpoints, leases, reasons
        .target(name: "Wire", dependencies: ["Model"]),                     // codec and messages of every edge
        .target(name: "Kubernetes", dependencies: ["Model"]),               // EndpointSlice and Service, merged into endpoints
        .target(name: "KeeperCore", dependencies: ["Model", "Wire", collections], swiftSettings: unchecked),  // who gets which endpoint, in what order
        .target(name: "DispatcherCore", dependencies: ["Model", "Wire"], swiftSettings: unchecked),   // a job's life; HTTP heads, framing, routes
        .target(name: "WatcherCore", dependencies: ["Model", "Wire", "Kubernetes"]),  // sources merged into one ordered feed
        .target(name: "ScalerCore", dependencies: ["Model", "Wire"]),       // how many local workers, and which to stop
        .target(name: "PublisherCore", dependencies: ["Model", "Wire"]),    // what is known of all processes, and how the outside is told
        .target(name: "AssetCore", dependencies: ["Model"]),                // S3's rules, signatures, listing, eviction

        // I/O without policy.
        .target(name: "CLinux"),                                            // C shim: macros, variadics, cmsg
        .systemLibrary(name: "CSystemd", pkgConfig: "libsystemd", providers: [.apt(["libsystemd-dev"])]),
        .target(name: "Linux", dependencies: ["CLinux"]),                   // descriptors, sockets, splice, epoll loop
        .target(name: "Systemd", dependencies: ["CSystemd", "Linux", logging]),  // LISTEN_FDS, sd_notify, journal
        .target(name: "ServiceKit", dependencies: [                         // the skeleton of every process
            "Model", "Wire", "Linux", "Systemd", logging, arguments, yams,
        ]),

        .target(name: "KubernetesClient", dependencies: [                   // access to an API server, and its streams on a loop
            "Model", "Kubernetes", "Linux", "Systemd", "ServiceKit", httpClient, nioCore, nioPosix, nioHTTP1, nioHTTP2, nioSSL, logging, yams,
        ]),

        .target(name: "EventLoops", dependencies: ["Linux", nioCore, nioPosix]),  // what processes on SwiftNIO share: whether its loops turn

        // The processes.
        .executableTarget(name: "leasehold-watcher", dependencies: [
            "WatcherCore", "Kubernetes", "KubernetesClient", "ServiceKit", arguments, yams,
        ]),
        .executableTarget(name: "leasehold-pool-keeper", dependencies: ["KeeperCore", "ServiceKit", arguments], swiftSettings: unchecked),
        .executableTarget(name: "leasehold-dispatcher", dependencies: ["DispatcherCore", "ServiceKit", arguments], swiftSettings: unchecked),
        .executableTarget(name: "leasehold-scaler", dependencies: ["ScalerCore", "ServiceKit", arguments]),
        .executableTarget(name: "leasehold-example-worker", dependencies: [
            arguments, nioCore, nioPosix, nioHTTP1, .product(name: "NIOWebSocket", package: "swift-nio"),
        ]),
        .executableTarget(name: "leasehold-asset-cache", dependencies: [
            "AssetCore", "EventLoops", "ServiceKit", arguments, .product(name: "NIOCore", package: "swift-nio"),
            .product(name: "NIOPosix", package: "swift-nio"), .product(name: "NIOHTTP1", package: "swift-nio"), nioSSL,
            .product(name: "Crypto", package: "swift-crypto"), .product(name: "GRDB", package: "GRDB.swift"),
        ]),
        .executableTarget(name: "leasehold-publisher", dependencies: [
            "PublisherCore", "EventLoops", "ServiceKit", arguments, nioCore, nioPosix, nioHTTP1, nioSSL, httpClient,
            .product(name: "Hummingbird", package: "hummingbird"),
            .product(name: "X509", package: "swift-certificates"), .product(name: "SwiftASN1", package: "swift-asn1"),
            .product(name: "GRPCCore", package: "grpc-swift-2"), .product(name: "GRPCProtobuf", package: "grpc-swift-protobuf"),
            .product(name: "GRPCNIOTransportHTTP2Posix", package: "grpc-swift-nio-transport"),
            .product(name: "SwiftProtobuf", package: "swift-protobuf"),
        ], exclude: ["Keda/externalscaler.proto"]),
        .executableTarget(name: "leasehold", dependencies: ["ServiceKit", arguments]),  // the operator's command

        // Measurements: nanoseconds and allocations of the machines, for `make bench`.
        .target(name: "CAllocations", path: "Benchmarks/CAllocations"),     // counts calls of malloc
        .executableTarget(name: "microbenchmarks", dependencies: [
            "KeeperCore", "DispatcherCore", "WatcherCore", "Kubernetes", "CAllocations", "TestKit",
        ], path: "Benchmarks/Micro"),

        // Tests.
// What the executables do with a large cluster, for scripts/bench-kubernetes.
        .executableTarget(name: "kubernetes-bench", dependencies: ["TestKit", "KubeTestServer"], path: "Benchmarks/Kubernetes"),
        .target(name: "TestKit", dependencies: ["Model", "Wire", "Kubernetes", "Linux"], path: "Tests/TestKit"),
        .target(name: "KubeTestServer", dependencies: [                     // an API server that misbehaves as a test says
            "TestKit", "Linux", nioCore, nioPosix, nioHTTP1, nioHTTP2, nioSSL,
        ], path: "Tests/KubeTestServer"),
        .executableTarget(name: "leasehold-test-apiserver", dependencies: ["KubeTestServer", arguments], path: "Tests/TestAPIServer"),
        .testTarget(name: "ModelTests", dependencies: ["Model", "TestKit"]),
        .testTarget(name: "WireTests", dependencies: ["Wire", "TestKit"]),
        .testTarget(name: "KubernetesTests", dependencies: ["Kubernetes", "TestKit", yams]),
        .testTarget(name: "KeeperCoreTests", dependencies: ["KeeperCore", "TestKit"]),
        .testTarget(name: "DispatcherCoreTests", dependencies: ["DispatcherCore", "TestKit"]),
        .testTarget(name: "WatcherCoreTests", dependencies: ["WatcherCore", "leasehold-watcher", "TestKit", yams]),
        .testTarget(name: "ScalerCoreTests", dependencies: ["ScalerCore", "TestKit"]),
        .testTarget(name: "AssetCoreTests", dependencies: ["AssetCore", "TestKit", .product(name: "Crypto", package: "swift-crypto")], exclude: ["http-cache.txt"]),
        .testTarget(name: "PublisherCoreTests", dependencies: ["PublisherCore", "TestKit"]),
        .testTarget(name: "LinuxTests", dependencies: ["Linux", "TestKit"]),
        .testTarget(name: "ServiceKitTests", dependencies: ["ServiceKit", "Systemd", "TestKit"]),
        .testTarget(name: "OperatorTests", dependencies: ["leasehold", "ServiceKit", "TestKit"]),  // what the command prints
        .testTarget(name: "Simulation", dependencies: ["KeeperCore", "DispatcherCore", "WatcherCore", "ScalerCore", "Kubernetes", "TestKit"]),
        .testTarget(name: "KubernetesClientTests", dependencies: ["KubernetesClient", "KubeTestServer", "TestKit", logging]),
        // Not called System: with a module of that name about, NIO takes it for Apple's.
        .testTarget(name: "SystemTests", dependencies: ["TestKit"], path: "Tests/System"),  // the built executables, for real
        .testTarget(name: "KubernetesSystem", dependencies: [                // the same against an API server
            "TestKit", "KubeTestServer", "KubernetesClient", httpClient, nioCore, nioHTTP1, nioPosix,
        ]),
        .target(name: "ChaosKit", dependencies: ["TestKit", "Linux", "Model", collections], path: "Tests/ChaosKit"),  // load, blows, and what they cost
        .testTarget(name: "Chaos", dependencies: ["ChaosKit", "TestKit"]),  // a short run of it
        .executableTarget(name: "chaos", dependencies: ["ChaosKit", "TestKit", arguments], path: "Tests/ChaosCommand"),  // the long one
    ],
    swiftLanguageModes: [.v6]
)
