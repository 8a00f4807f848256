"""What drivers send reaches Kafka and a handler to the byte, or is refused: those whose libraries are there anyway. The others:
`make check-drivers`."""
import pytest
from drivers import drivers
from drivers.matrix import Matrix
from drivers.report import failures
from drivers.toolchains import LANGUAGES

HERE_ANYWAY = ["psycopg", "psycopg2", "PostgREST-like", "JDBC"]


@pytest.mark.long
def test_US20_drivers_are_right_or_refused(cluster, kafka, world_name):
    chosen = drivers.named(HERE_ANYWAY)
    for language in {driver.language for driver in chosen}:
        LANGUAGES[language].fetch()
        LANGUAGES[language].write_recipes()
        LANGUAGES[language].build()
    with Matrix(cluster, kafka, world_name) as matrix:
        for driver in chosen:
            matrix.ask(driver, drivers.run)
        matrix.ship()
        outcomes, unclaimed = matrix.judge()
        wrong = failures(outcomes) + unclaimed + list(matrix.wrong_recipes())
    assert not wrong, "\n".join(wrong)
    assert len(outcomes) > 1000
