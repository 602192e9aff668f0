"""How the outside talks to a node: JSON-RPC, WebSocket events, metrics, the node's page.

Imports ``chain`` and the state's queries and families; what it needs of the running node is the
``Backend`` protocol.
"""
