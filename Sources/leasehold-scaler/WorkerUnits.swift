import CLinux
import Linux
import Logging
import ScalerCore
import ServiceKit
import Systemd

/// The systemd driver: workers are instances of leasehold-worker@.service, started and stopped over the system bus.
///
/// A start is done when its job is (JobRemoved) and the unit has a main process; that process is then watched by its pidfd. When
/// it has ended the unit is told to stop: that job ends once everything of the unit is gone and its last status is written.
/// The unit's own command is the configuration's (`leasehold worker-exec`); systemd has no say in when one is started again.
final class WorkerUnits: WorkerDriver {
    var onEvent: (WorkerEvent) -> Void = { _ in }

    private static let template = "leasehold-worker"
    private let bus: SystemBus
    private let watch: ProcessWatch
    private let logger: Logger
    private var running: [ProcessIdentity: Unit] = [:]
    /// By the object path of the job.
    private var jobs: [String: (_ result: String) -> Void] = [:]
    private var isAwayKnown = false

    private struct Unit {
        var place: WorkerPlace
        var name: String
        /// Ordered while the bus was away, or lost with it: ordered again when it is back.
        var order: Order?
    }

    private enum Order { case stop, kill }

    private enum Manager {
        static let name = "org.freedesktop.systemd1"
        static let path = "/org/freedesktop/systemd1"
        static let interface = "org.freedesktop.systemd1.Manager"
    }

    init(loop: Loop, logger: Logger) {
        self.logger = logger
        bus = SystemBus(loop: loop)
        watch = ProcessWatch(loop)
        bus.onSignal(sender: Manager.name, path: Manager.path, interface: Manager.interface, member: "JobRemoved") { [unowned self] message in
            // (u id, o job, s unit, s result)
            guard message.uint32() != nil, let job = message.string("o"), message.string() != nil, let result = message.string() else { return }
            jobs.removeValue(forKey: job)?(result)
        }
        bus.onConnected = { [unowned self] in connected() }
        bus.onDisconnected = { [unowned self] in disconnected($0) }
        bus.connect()
    }

    var isEmpty: Bool { running.isEmpty }

    // MARK: Starting

    func findRunning(_ found: @escaping ([FoundWorker]) -> Void) {
        let arguments = [BusArgument.strings(["active"]), .strings(["\(Self.template)@*.service"])]
        bus.call(Manager.name, Manager.path, Manager.interface, "ListUnitsByPatterns", arguments) { [unowned self] reply in
            var units: [String] = []
            // a(ssssssouso): the name comes first.
            if case .success(let message) = reply { message.structures("ssssssouso") { units += [$0.string()].compactMap(\.self) } }
            ask(units[...], [], found)
        }
    }

    /// One after the other: there are few, and it is the start.
    private func ask(_ units: ArraySlice<String>, _ sofar: [FoundWorker], _ found: @escaping ([FoundWorker]) -> Void) {
        guard let unit = units.first else { return found(sofar) }
        mainPID(of: unit) { [unowned self] pid in
            var list = sofar
            let parts = UnitName.instance(of: unit, template: Self.template)?.split(separator: "/") ?? []
            if parts.count == 2, let port = UInt16(parts[1]), let startTime = ProcessTable.startTime(of: pid) {
                list.append(FoundWorker(pool: String(parts[0]), port: port, process: ProcessIdentity(pid: pid, startTime: startTime)))
            }
            ask(units.dropFirst(), list, found)
        }
    }

    func start(_ place: WorkerPlace, pool: WorkerPool) {
        let name = Self.unit(pool.name, place.port)
        order("StartUnit", name, .orElseFail) { [unowned self] failure in
            // Whatever became of the job: one that a stop of everything took the place of may have started its process before.
            mainPID(of: name) { [unowned self] pid in started(place, name, pid, failure) }
        }
    }

    private func started(_ place: WorkerPlace, _ name: String, _ pid: Int32, _ failure: String?) {
        guard pid > 0, let startTime = ProcessTable.startTime(of: pid) else {
            return onEvent(.startFailed(place, failure ?? "it ended at once; see journalctl --unit \(name)"))
        }
        let process = ProcessIdentity(pid: pid, startTime: startTime)
        do throws(SystemError) {
            try follow(place, name, process)
            onEvent(.started(place, process))
        } catch {
            onEvent(.startFailed(place, error.description))
        }
    }

    func adopt(_ place: WorkerPlace, pool: String, _ process: ProcessIdentity) -> Bool {
        do { try follow(place, Self.unit(pool, place.port), process) } catch { return false }
        return true
    }

    private func follow(_ place: WorkerPlace, _ name: String, _ process: ProcessIdentity) throws(SystemError) {
        try watch.follow(process) { [unowned self] in ended(process) }
        running[process] = Unit(place: place, name: name)
    }

    // MARK: Ending

    func stop(_ process: ProcessIdentity) { end(process, .stop) }
    func kill(_ process: ProcessIdentity) { end(process, .kill) }
    func stopAll() { for process in running.keys { stop(process) } }
    func killAll() { for process in running.keys { kill(process) } }

    private func end(_ process: ProcessIdentity, _ order: Order) {
        guard let unit = running[process] else { return }
        running[process]?.order = order
        // Whether it worked is seen at the process; a bus that is away is told again.
        switch order {
        case .stop: self.order("StopUnit", unit.name, .inTheirPlace) { _ in }
        case .kill: bus.call(Manager.name, Manager.path, Manager.interface, "KillUnit", [.string(unit.name), .string("all"), .int32(SIGKILL)]) { _ in }
        }
    }

    private func ended(_ process: ProcessIdentity) {
        guard let unit = running.removeValue(forKey: process) else { return }
        order("StopUnit", unit.name, .inTheirPlace) { [unowned self] _ in
            let service = "org.freedesktop.systemd1.Service"
            property(unit.name, service, "ExecMainCode", { $0.variant("i") { $0.int32() } }) { [unowned self] code in
                property(unit.name, service, "ExecMainStatus", { $0.variant("i") { $0.int32() } }) { [unowned self] status in
                    onEvent(.ended(unit.place, process, Self.status(code, status)))
                }
            }
        }
    }

    /// siginfo's si_code and si_status (waitid(2)). A unit that ended well may have been forgotten already: then both are 0.
    private static func status(_ code: Int32?, _ status: Int32?) -> ScalerCore.ExitStatus {
        guard let code, let status else { return .unknown }
        switch code {
        case 0, 1: return .code(status)
        case 2, 3: return .signal(status)
        default: return .unknown
        }
    }

    // MARK: The manager

    /// What becomes of jobs that are queued already and contradict the new one (systemctl(1), --job-mode).
    private enum JobMode: String {
        case inTheirPlace = "replace"
        /// A start in the place of a queued stop outlives a stop of everything.
        case orElseFail = "fail"
    }

    /// Calls `done` once its job has ended, with what went wrong.
    private func order(_ verb: String, _ unit: String, _ mode: JobMode, done: @escaping (_ failure: String?) -> Void) {
        bus.call(Manager.name, Manager.path, Manager.interface, verb, [.string(unit), .string(mode.rawValue)]) { [unowned self] reply in
            switch reply {
            case .success(let message):
                guard let job = message.string("o") else { return done("the manager named no job") }
                jobs[job] = { result in done(result == "done" ? nil : "its start ended as '\(result)'; see journalctl --unit \(unit)") }
            case .failure(let failure): done(failure.description)
            }
        }
    }

    /// 0 where there is none.
    private func mainPID(of unit: String, _ then: @escaping (Int32) -> Void) {
        property(unit, "org.freedesktop.systemd1.Service", "MainPID", { $0.variant("u") { $0.uint32() } }) { then(Int32(clamping: $0 ?? 0)) }
    }

    private func property<Value>(
        _ unit: String, _ interface: String, _ name: String, _ read: @escaping (BusMessage) -> Value?, _ then: @escaping (Value?) -> Void
    ) {
        let path = UnitName.objectPath(unit)
        bus.call(Manager.name, path, "org.freedesktop.DBus.Properties", "Get", [.string(interface), .string(name)]) { reply in
            switch reply {
            case .success(let message): then(read(message))
            case .failure: then(nil)
            }
        }
    }

    private func connected() {
        isAwayKnown = false
        // Without a subscriber the manager sends no signals. A refusal shows in the next start, which then has no end of its job.
        bus.call(Manager.name, Manager.path, Manager.interface, "Subscribe", []) { _ in }
        for (process, unit) in running { if let order = unit.order { end(process, order) } }
    }

    private func disconnected(_ reason: String) {
        if !isAwayKnown {
            isAwayKnown = true
            logger.warning(
                "The system bus is away, continuing with the workers that run",
                metadata: [LogKey.reason: "\(reason)", LogKey.messageID: "\(MessageID.managerAway)"])
        }
        let lost = jobs.values
        jobs.removeAll()
        for job in lost { job("lost") }
    }

    private static func unit(_ pool: String, _ port: UInt16) -> String { UnitName.service(template, instance: "\(pool)/\(port)") }
}
