Feature: Loops and branches

  Scenario: Each item is worked on with its index
    Given a workflow with definition:
    """yaml
    document: { dsl: '1.0.3', namespace: test, name: scenario, version: '0.1.0' }
    do:
      - sum:
          for: { each: x, in: .numbers, at: i }
          do:
            - step: { set: { total: '${ .total + $x * $i }' } }
    """
    And given the workflow input is:
    """yaml
    numbers: [1, 2, 3]
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    total: 8
    """

  Scenario: A loop goes on while its condition holds
    Given a workflow with definition:
    """yaml
    document: { dsl: '1.0.3', namespace: test, name: scenario, version: '0.1.0' }
    do:
      - sum:
          for: { in: .numbers }
          while: (.total // 0) < 3
          do:
            - step: { set: { total: '${ (.total // 0) + $item }', numbers: [] } }
    """
    And given the workflow input is:
    """yaml
    numbers: [1, 2, 3, 4]
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    total: 3
    numbers: []
    """

  Scenario: Branches give their outputs in their order
    Given a workflow with definition:
    """yaml
    document: { dsl: '1.0.3', namespace: test, name: scenario, version: '0.1.0' }
    do:
      - both:
          fork:
            branches:
              - slow: { do: [ { rest: { wait: PT0.3S } }, { a: { set: { n: 1 } } } ] }
              - quick: { set: { n: 2 } }
      - join: { set: { all: '${ map(.n) }' } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    all: [ 1, 2 ]
    """

  Scenario: The first branch of a competition wins
    Given a workflow with definition:
    """yaml
    document: { dsl: '1.0.3', namespace: test, name: scenario, version: '0.1.0' }
    do:
      - race:
          fork:
            compete: true
            branches:
              - slow: { do: [ { rest: { wait: { minutes: 1 } } }, { a: { set: { n: 1 } } } ] }
              - quick: { do: [ { rest: { wait: { milliseconds: 100 } } }, { b: { set: { n: 2 } } } ] }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    n: 2
    """
