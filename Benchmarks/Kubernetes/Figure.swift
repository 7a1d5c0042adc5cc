import Foundation

/// One line of the result: a name, and numbers with their units in their names.
struct Figure {
    var name: String
    var encoding: String
    var numbers: [(name: String, value: Double)]

    subscript(name: String) -> Double { numbers.first { $0.name == name }?.value ?? .nan }

    func print() {
        let fields = numbers.map { "\"\($0.name)\":\(($0.value * 1000).rounded() / 1000)" }.joined(separator: ",")
        Swift.print("{\"figure\":\"\(name)\",\"encoding\":\"\(encoding)\",\(fields)}")
        fflush(nil)
    }
}

/// The value below which a share of the values lies.
func percentile(_ values: [Double], _ share: Double) -> Double {
    guard !values.isEmpty else { return .nan }
    let sorted = values.sorted()
    return sorted[min(sorted.count - 1, Int((Double(sorted.count) * share).rounded(.up)) - 1)]
}
