import Kubernetes
import Model
import ScalerCore
import TestKit

/// The truth about workers, and the directory of manifests in which it is published, a file for each pool.
final class Cluster {
    unowned let world: World
    private(set) var pods: [Pod] = []
    /// Whether the directory can be read.
    var isReadable = true
    /// What each file holds, and how often it has changed.
    private(set) var files: [(version: Int, manifest: Manifest)] = []
    /// What an API server says, if there is one instead of the directory.
    var server = ModelAPIServer()
    /// One without objects.
    let emptyServer = ModelAPIServer()
    /// Pools that have been empty at some time.
    private(set) var wereEmpty: Set<PoolID> = []
    private var lastNotice: Int64 = 0
    private var hosts: UInt8 = 10

    init(_ world: World) { self.world = world }

    private var policies: [PoolPolicy] { world.scenario.policies }

    var sources: [PoolSource] {
        policies.indices.filter { !isLocal($0) }.map { policies[$0] }.map { PoolSource(name: $0.name, service: ObjectKey(namespace: "shop", name: $0.name), port: .only) }
    }

    /// Whether the pool has the scaler's workers, and no Service.
    private func isLocal(_ pool: Int) -> Bool { world.scenario.localWorkers?.pool == pool }

    func populate() {
        for plan in world.scenario.pods { add(plan) }
        if let local = world.scenario.localWorkers { wereEmpty.insert(policies[local.pool].id) }
        files = policies.indices.map { (1, isLocal($0) ? Manifest() : manifest(of: $0)) }
        server.speaksProtobuf = world.scenario.span.milliseconds % 2 == 0
        server.refusesWatchList = world.scenario.span.milliseconds % 3 == 0
        for file in files { for slice in file.manifest.slices { server.put(slice) } }
        // Lists may be answered from any state that is remembered: none from before there were any.
        server.compact()
    }

    @discardableResult
    private func add(_ plan: Scenario.PodPlan, host: UInt8? = nil) -> Pod {
        if host == nil { hosts += 1 }
        let pod = Pod(world, number: pods.count, host: host ?? hosts, plan: plan)
        pods.append(pod)
        return pod
    }

    // MARK: The directory

    private func manifest(of pool: Int) -> Manifest {
        let name = policies[pool].name
        func slice(
            _ type: EndpointSlice.AddressType, _ family: String, _ pods: [Pod], _ address: (UInt8) -> String
        ) -> EndpointSlice {
            EndpointSlice(
                metadata: ObjectMetadata(key: ObjectKey(namespace: "shop", name: "\(name)-\(family)"), serviceName: name), addressType: type,
                ports: [.init(number: UInt16(8000 + pool))],
                endpoints: pods.map { pod in
                    var conditions: Model.Endpoint.Conditions = pod.isReady && !pod.isTerminating ? [.ready, .serving] : []
                    if pod.isTerminating { conditions = [.serving, .terminating] }
                    return .init(
                        address: address(pod.host), conditions: conditions, uid: pod.uid, name: pod.uid, node: "node-\(pod.plan.node)")
                })
        }
        let listed = pods.filter { $0.isListed && !$0.isLocal && $0.plan.pools.contains(pool) }
        if listed.isEmpty { wereEmpty.insert(policies[pool].id) }
        return Manifest(slices: [
            slice(.ipv4, "v4", listed) { "10.0.0.\($0)" },
            slice(.ipv6, "v6", listed.filter(\.plan.isDualStack)) { "fd00::\(String($0, radix: 16))" },
        ])
    }

    /// Writes the files of these pools anew; the watcher is told after a while.
    func publish(_ all: [Int]) {
        let pools = all.filter { !isLocal($0) }
        guard !files.isEmpty, !pools.isEmpty else { return }
        for pool in pools {
            let old = files[pool].manifest
            files[pool] = (files[pool].version + 1, manifest(of: pool))
            guard world.scenario.isKubernetes else { continue }
            for slice in files[pool].manifest.slices where !old.slices.contains(slice) { server.put(slice) }
            if !world.isHealed, world.chance(0.1) { server.compact() }
        }
        let written = pools.map { (pool: $0, file: files[$0]) }
        lastNotice = max(lastNotice + 1, (world.now + .microseconds(world.pick(50...20_000))).nanoseconds)
        world.at(lastNotice) { [self] in
            let watcher = world.watcher!
            watcher.enter(watcher.incarnation) { watcher.changed(written) }
        }
    }

    // MARK: The network

    func address(_ pod: Pod, pool: Int) -> SocketAddress { SocketAddress(v4: 0x0a00_0000 + UInt32(pod.host), port: UInt16(8000 + pool)) }

    /// A connect travels to whoever has the address now.
    func connect(_ connection: Connection, to address: SocketAddress) {
        connection.toWorker(world) { [self] in
            guard connection.state == .dialing else { return }
            let host = UInt8(truncatingIfNeeded: address.low & 0xff)
            let dispatcher = connection.dispatcher
            let isLoopback = address.low == SocketAddress.loopback(port: 0).low
            guard let pod = pods.last(where: { $0.isAlive && (isLoopback ? $0.port == address.port : !$0.isLocal && $0.host == host) }) else {
                if isLoopback { return connection.toDispatcher(world) { dispatcher.dialFailed(connection, .refused) } }
                // Nobody has the address: an error from the network, or silence.
                if world.chance(0.7) { connection.toDispatcher(world) { dispatcher.dialFailed(connection, .unreachable) } }
                return
            }
            switch address.family == .v4 && pod.isV4Broken ? .refuses : pod.listening {
            case .yes:
                pod.accept(connection)
                connection.toDispatcher(world) { dispatcher.dialed(connection) }
            case .refuses: connection.toDispatcher(world) { dispatcher.dialFailed(connection, .refused) }
            case .hole: break
            }
        }
    }

    // MARK: Trouble

    func cause(_ kind: Trouble.Kind) {
        guard let pod = world.pick(pods.filter { $0.isAlive && $0.isListed && !$0.isTerminating }) else { return }
        world.trace.note(pod.uid) { "\(kind)" }
        if pod.isLocal, kind != .busy, kind != .hang { return exit(pod) }
        switch kind {
        case .blink:
            pod.isReady = false
            publish(pod.plan.pools)
            later(1...1500, pod) { [self] in
                pod.isReady = true
                publish(pod.plan.pools)
            }
        case .terminate:
            pod.isTerminating = true
            publish(pod.plan.pools)
            later(50...3000, pod) { [self] in leave(pod, replaced: world.chance(0.8)) }
        case .vanish:
            pod.isListed = false
            publish(pod.plan.pools)
            later(10...4000, pod) { [self] in
                if world.chance(0.3) { return leave(pod, replaced: true) }
                pod.isListed = true
                publish(pod.plan.pools)
            }
        case .replace: replace(pod)
        case .stale:
            if world.chance(0.3), pod.plan.isDualStack {
                pod.isV4Broken = true
            } else {
                pod.listening = world.chance(0.5) ? .refuses : .hole
            }
            later(10...4000, pod) { pod.listening = .yes }
        case .crash:
            pod.listening = .refuses
            pod.crash()
            later(10...1000, pod) { pod.listening = .yes }
        case .busy:
            pod.isBusy = true
            later(10...2000, pod) { pod.isBusy = false }
        case .hang:
            pod.hangs = true
            later(10...1000, pod) { pod.hangs = false }
        case .killKeeper, .killWatcher, .killDispatcher, .killScaler, .stopKeeper, .stopWatcher, .stopDispatcher, .stopScaler,
            .burnKeeper, .burnWatcher, .burnDispatcher, .burnScaler, .breakLeasing, .breakFeed, .breakScaling,
            .restartUnseen, .killBoth, .endKeeper, .upgrade, .operate, .unreadable:
            preconditionFailure("not a worker's trouble")
        }
    }

    private func later(_ milliseconds: ClosedRange<Int64>, _ pod: Pod, _ action: @escaping () -> Void) {
        world.after(world.milliseconds(milliseconds)) { [self] in if pod.isAlive, !world.isHealed { action() } }
    }

    /// The pod is gone; perhaps another one comes, elsewhere.
    private func leave(_ pod: Pod, replaced: Bool) {
        world.trace.note(pod.uid) { "is gone" }
        pod.isAlive = false
        pod.isListed = false
        pod.crash()
        if replaced {
            let fresh = add(pod.plan)
            world.trace.note(fresh.uid) { "comes" }
        }
        publish(pod.plan.pools)
    }

    /// A single-use worker has had its job.
    func usedUp(_ pod: Pod) {
        world.after(world.milliseconds(0...100)) { [self] in if pod.isAlive { leave(pod, replaced: true) } }
    }

    // MARK: Local workers

    /// The scaler has started a process; its port accepts after a while.
    func addLocal(port: UInt16, _ process: ProcessIdentity, pool: Int) -> Pod {
        let plan = Scenario.PodPlan(pools: [pool], isDualStack: false, node: 0)
        let pod = Pod(world, number: pods.count, host: 1, plan: plan, port: port, process: process)
        pod.listening = .refuses
        pods.append(pod)
        world.after(world.milliseconds(0...400)) { if !pod.isTerminating { pod.listening = .yes } }
        return pod
    }

    /// The process of a local worker ends.
    func exit(_ pod: Pod) {
        guard pod.isAlive else { return }
        world.trace.note(pod.uid) { "exits" }
        pod.isAlive = false
        pod.crash()
        world.scaler?.noticeExit(of: pod)
    }

    /// Another pod takes the address, at once, and the slices follow in one step or two.
    private func replace(_ pod: Pod) {
        pod.isAlive = false
        pod.crash()
        let fresh = add(pod.plan, host: pod.host)
        world.trace.note(fresh.uid) { "takes the address of \(pod.uid)" }
        fresh.isListed = false
        if world.chance(0.3) {
            fresh.listening = .refuses
            later(1...500, fresh) { fresh.listening = .yes }
        }
        later(0...300, fresh) { [self] in
            pod.isListed = false
            if world.chance(0.5) {
                fresh.isListed = true
                publish(pod.plan.pools)
            } else {
                publish(pod.plan.pools)
                later(0...500, fresh) { [self] in
                    fresh.isListed = true
                    publish(pod.plan.pools)
                }
            }
        }
    }

    /// Everything that lives is well, and every pool has somebody.
    func heal() {
        isReadable = true
        for pod in pods where !pod.isLocal {
            // Nobody frees a single-use worker that had a lease and no job.
            if pod.isTerminating || !pod.isAlive || world.scenario.isSingleUse {
                pod.isAlive = false
                pod.isListed = false
                pod.crash()
                continue
            }
            pod.isListed = true
            pod.isReady = !(world.scenario.flips && pod.runs.contains { !$0.isProbe })
            pod.listening = .yes
            pod.isV4Broken = false
            pod.isBusy = false
            pod.hangs = false
        }
        for pod in pods where pod.isLocal {
            pod.isBusy = false
            pod.hangs = false
        }
        for pool in policies.indices where !isLocal(pool) && !pods.contains(where: { $0.isAlive && $0.plan.pools.contains(pool) }) {
            add(Scenario.PodPlan(pools: [pool], isDualStack: false, node: 0))
        }
        publish(Array(policies.indices))
    }
}
