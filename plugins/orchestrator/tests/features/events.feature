Feature: Events

  Scenario: An event that is emitted is heard in another branch
    Given a workflow with definition:
    """yaml
    document: { dsl: '1.0.3', namespace: test, name: scenario, version: '0.1.0' }
    do:
      - both:
          fork:
            branches:
              - hear:
                  listen: { to: { one: { with: { type: org.test.said } } } }
              - say:
                  emit: { event: { with: { source: 'https://test.org', type: org.test.said, data: { text: '${ .text }' } } } }
          output: { as: '{ heard: .[0][0].text, id: (.[1].id | length > 0) }' }
    """
    And given the workflow input is:
    """yaml
    text: hi
    """
    When the workflow is executed
    Then the workflow should complete with output:
    """yaml
    heard: hi
    id: true
    """
