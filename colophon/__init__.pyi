from chain.bundle_json import write_bundle as write_bundle
from chain.crypto import SigningKey as SigningKey
from chain.errors import ColophonError as ColophonError
from chain.errors import Rejected as Rejected
from chain.ids import Kind as Kind
from chain.ids import format_id as format_id
from chain.ids import parse_id as parse_id

from .amounts import parse_amount as parse_amount
from .amounts import show_amount as show_amount
from .async_client import AsyncClient as AsyncClient
from .async_client import AsyncRecorder as AsyncRecorder
from .client import Client as Client
from .export import export_bundle_flow as export_bundle_flow
from .flows import Outcome as Outcome
from .flows import RpcFailed as RpcFailed
from .flows import TransactionFailed as TransactionFailed
from .flows import Unreachable as Unreachable
from .home import new_key as new_key
from .keystore import Keystore as Keystore
from .keystore import key_from_words as key_from_words
from .keystore import words_of as words_of
from .receipts import find_receipt as find_receipt
from .receipts import read_own_receipt as read_own_receipt
from .recorder import Noted as Noted
from .recorder import Recorder as Recorder
from .recorder import RecorderOptions as RecorderOptions
from .recorder import record_flow as record_flow
from .verify import InvalidBundle as InvalidBundle
from .verify import Verdict as Verdict
from .verify import verify_file as verify_file
from .wallet import Draft as Draft
from .wallet import Signed as Signed
from .wallet import Wallet as Wallet

__version__: str
