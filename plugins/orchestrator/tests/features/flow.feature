Feature: Flow directives

  Scenario: A task whose condition is false is passed over
    Given a workflow with definition:
    """yaml
    document: { dsl: '1.0.3', namespace: test, name: scenario, version: '0.1.0' }
    do:
      - one: { set: { n: 1 } }
      - two: { if: .n == 2, set: { n: 20 } }
      - three: { set: { n: '${ .n + 2 }' } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    n: 3
    """
    And three should run after one

  Scenario: A switch chooses, and end ends
    Given a workflow with definition:
    """yaml
    document: { dsl: '1.0.3', namespace: test, name: scenario, version: '0.1.0' }
    do:
      - choose:
          switch:
            - big: { when: .n > 10, then: large }
            - other: { then: small }
      - large: { set: { size: large }, then: end }
      - small: { set: { size: small }, then: end }
      - never: { set: { size: never } }
    """
    And given the workflow input is:
    """yaml
    n: 11
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    size: large
    """
    And choose should run first
    And large should run after choose

  Scenario: Exit leaves the scope that it is in
    Given a workflow with definition:
    """yaml
    document: { dsl: '1.0.3', namespace: test, name: scenario, version: '0.1.0' }
    do:
      - inner:
          do:
            - a: { set: { n: 1 }, then: exit }
            - b: { set: { n: 2 } }
      - c: { set: { n: '${ .n + 10 }' } }
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    n: 11
    """
